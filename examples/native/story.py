"""The story, chapter by chapter.  Its order is its point: each chapter starts where the one before left things."""

import errno
import json

from examples.demo.stage import Stage, nothing
from examples.native import trouble
from examples.native.looks import (
    Story,
    held_by,
    holder,
    moved,
    of_persist,
    sha256,
    underpaths,
    wait_released,
)
from tests.native.site import KEYS, Site

MIB = 1 << 20
LUN_BYTES = 128 * MIB
IMAGE_BYTES = 64 * MIB
HOSTS = ("a", "b")
NOTE = "written by host A"
EIO_TEXT = "Input/output error"
PRINT_ERRNO = """'
import os, sys
try: os.open(sys.argv[1], os.O_RDWR)
except OSError as error: print(error.errno)'"""


def tell(stage: Stage, site: Site) -> None:
    """Tell the story; ClaimFailed when a claim of it is false."""
    story = Story(stage, site)
    one_disk(story)
    mount(story)
    write_and_read_back(story)
    array_says_a(story)
    b_after_a(story)
    trouble.cable_is_pulled(story)
    trouble.takeover(story)
    unmount(story)


def one_disk(story: Story) -> None:
    """Chapter 1: four cables, one disk."""
    stage, site = story.stage, story.site
    stage.chapter("Four cables, one disk")
    for host in HOSTS:
        numbered = enumerate(site.urls(host), start=1)
        stage.variables |= {f"{host.upper()}{number}": url for number, url in numbered}
    stage.variables["ARRAY"] = site.tgtd.url()
    stage.tell("Each host reaches the array over two cables, here TCP relays: two URLs a host.")
    stage.show([f"{name}={value}" for name, value in stage.variables.items()])
    stage.tell("They look like four disks.  mpio-fuse asks each for its identity (VPD page 0x83):")
    stage.run("a", "mpio-fuse discover $A1 $A2")
    found = json.loads(stage.ask("mpio-fuse discover --json $A1 $A2 $B1 $B2").stdout)["luns"]
    grouped = [sorted(one["device_node"] for one in lun["underpaths"]) for lun in found]
    urls = sorted(site.urls("a") + site.urls("b"))
    stage.claim_equal("mpio-fuse finds one LUN behind all four", grouped, [urls])


def mount(story: Story) -> None:
    """Chapter 2: both hosts mount."""
    stage, site = story.stage, story.site
    stage.chapter("Each host mounts: one file per LUN")
    stage.tell(
        "A host is a daemon with an initiator name, a run directory and a reservation key of its own, the same key on"
        " all its underpaths."
    )
    for host in HOSTS:
        name = host.upper()
        config = f"--config {host}/config.toml"
        stage.run(
            host, f"mpio-fuse mount {host}/mnt {config} --key {KEYS[host]:x} ${name}1 ${name}2"
        )
        stage.run(host, f"ls -l {host}/mnt")
        seen = stage.ask(f"cd {host}/mnt && stat --format='%n %s' *").stdout.strip()
        lun = site.hosts[host].lun
        stage.variables[name] = str(lun)
        text = f"host {name} sees one file, of the LUN's {LUN_BYTES // MIB} MiB"
        stage.claim_equal(text, seen, f"{lun.name} {LUN_BYTES}")
    stage.tell("From here on $A is the LUN's file on host A, $B the same LUN's on host B:")
    stage.show([f"{name}={stage.variables[name]}" for name in ("A", "B")])


def write_and_read_back(story: Story) -> None:
    """Chapter 3: data goes through, and over both underpaths."""
    stage = story.stage
    stage.chapter("Host A writes an ext4 image to the LUN and reads it back")
    stage.run("a", "mkdir tree && head -c 40M /dev/urandom > tree/payload")
    stage.run("a", f"echo '{NOTE}' > tree/note")
    stage.run("a", f"mkfs.ext4 -q -d tree image {IMAGE_BYTES // MIB}M", nothing)
    before = underpaths(stage, "a")
    stage.run("a", "dd if=image of=$A bs=1M conv=fsync", lambda lines: lines[-1:])
    story.image_sum = sha256(stage.run("a", "sha256sum < image"))
    read = f"dd if=$A bs=1M count={IMAGE_BYTES // MIB} iflag=direct status=none | sha256sum"
    read_sum = sha256(stage.run("a", read))
    stage.claim_equal("what was read is what was written", read_sum, story.image_sum)
    medium = sha256(stage.ask(f"head -c {IMAGE_BYTES} {story.site.disk} | sha256sum"))
    stage.claim_equal("it is in the array's backing file, too", medium, story.image_sum)
    stage.run("a", "mpio-fuse status")
    after = underpaths(stage, "a")
    for verb, counter in (("write", "bytes_written"), ("read", "bytes_read")):
        grown = moved(before, after, counter)
        mib = [number // MIB for number in grown.values()]
        holds = min(grown.values()) > 0 and sum(grown.values()) >= IMAGE_BYTES
        stage.claim(f"both underpaths carried the {verb}s: MiB {mib}", holds=holds, seen=grown)


def array_says_a(story: Story) -> None:
    """Chapters 4 and 5: while A has it open, by the array's own account; and B, refused meanwhile."""
    stage = story.stage
    stage.chapter("While A has it open, the LUN is A's: the array says so")
    opener = stage.spawn("a", "exec 3< $A; echo open; sleep 600")
    stage.wait_for_output(opener, "open")
    stage.tell("$ARRAY is the array's own port; over it we are nobody's underpath:")
    keys = of_persist(stage.run("a", "mpio-fuse persist read-keys $ARRAY"))
    text = f"host A's key 0x{KEYS['a']:x} is registered on both of its nexuses"
    stage.claim_equal(text, keys.get(KEYS["a"]), 2)
    found = holder(stage.run("a", "mpio-fuse persist read-reservation $ARRAY"))
    stage.claim_equal("one nexus holds the reservation, with A's key", found, held_by("a"))
    sessions = story.site.tgtd.admin("target", "show").count("iqn.2026-01.test:host-a ")
    stage.claim_equal("tgtadm, the array's own tool, counts two sessions of A's", sessions, 2)
    b_is_refused(story)
    stage.end("a", opener)
    wait_released(stage)


def b_is_refused(story: Story) -> None:
    """Chapter 5: B cannot open, and A notices nothing."""
    stage = story.stage
    stage.chapter("Host B's open is refused meanwhile")
    for command in ("dd if=$B of=/dev/null count=1", "dd if=/dev/zero of=$B bs=1M count=1"):
        result = stage.run("b", command, must_fail=True)
        holds = EIO_TEXT in result.stderr
        stage.claim(f'it failed with "{EIO_TEXT}"', holds=holds, seen=result.stderr)
    number = stage.ask(f"python3 -c {PRINT_ERRNO} $B", host="b").stdout.strip()
    stage.claim_equal("open(2) itself gave errno 5, EIO", number, str(errno.EIO))
    medium = sha256(stage.ask(f"head -c {IMAGE_BYTES} {story.site.disk} | sha256sum"))
    stage.claim_equal("A's data is untouched", medium, story.image_sum)


def b_after_a(story: Story) -> None:
    """Chapter 6: after A's close the LUN is B's for the asking."""
    stage = story.stage
    stage.chapter("A closes, B opens, and finds A's data")
    found = holder(stage.run("a", "mpio-fuse persist read-reservation $ARRAY"))
    stage.claim_equal("the last close has released the reservation", found, None)
    a_sum = sha256(stage.run("a", "sha256sum < $A"))
    wait_released(stage)
    story.lun_sum = sha256(stage.run("b", "sha256sum < $B"))
    stage.claim_equal("B reads what A reads, all of the LUN", story.lun_sum, a_sum)
    wait_released(stage)
    note = stage.run("b", "debugfs -R 'cat note' $B 2> /dev/null").stdout.strip()
    stage.claim_equal("A's last words are in the file system that B sees", note, NOTE)
    wait_released(stage)
    stage.run("b", "e2fsck -f -n $B 2> /dev/null", lambda lines: lines[-1:])
    wait_released(stage)


def unmount(story: Story) -> None:
    """The last chapter: nothing is left on the array."""
    stage = story.stage
    stage.chapter("Both unmount")
    for host in HOSTS:
        stage.run(host, f"mpio-fuse unmount {host}/mnt")
    result = stage.run("a", "mpio-fuse persist read-keys $ARRAY")
    text = "the array has no registrations left"
    stage.claim(text, holds="registrations: none" in result.stdout, seen=result.stdout)
