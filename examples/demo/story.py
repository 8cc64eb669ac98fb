"""The story, chapter by chapter.  Its order is its point: each chapter starts where the one before left things."""

import json
from functools import partial

from attrs import define

from examples.demo import trouble
from examples.demo.array_view import TYPE_OF_THE_STORY
from examples.demo.looks import (
    KEYS,
    Hosts,
    holders,
    kernel_requests,
    moved,
    sha256,
    show_registrations,
    take_unit_attentions,
    underpaths,
    wait_released,
)
from examples.demo.stage import Stage, nothing

MIB = 1 << 20
LUN_BYTES = 128 * MIB
IMAGE_BYTES = 64 * MIB
EIO_TEXT = "Input/output error"
NOTE = "written by host A"
PRINT_ERRNO = """'
import os, sys
try: os.open(sys.argv[1], os.O_RDWR)
except OSError as error: print(error.errno)'"""


@define
class Story:
    """What later chapters need of earlier ones."""

    stage: Stage
    hosts: Hosts
    image_sum: str = ""
    lun_sum: str = ""


def tell(stage: Stage, hosts: Hosts) -> None:
    """Tell the story; ClaimFailed when a claim of it is false."""
    story = Story(stage, hosts)
    one_disk(story)
    mount(story)
    write_and_read_back(story)
    array_says_a(story)
    b_is_refused(story)
    b_after_a(story)
    trouble.underpath_fails(stage, hosts, story.lun_sum)
    trouble.takeover(stage, hosts)
    unmount(story)


def one_disk(story: Story) -> None:
    """Chapter 1: four nodes, one disk."""
    stage, hosts = story.stage, story.hosts
    nodes = hosts.nodes("a") + hosts.nodes("b")
    stage.chapter("Four device nodes, one disk")
    for host in ("a", "b"):
        own = hosts.nodes(host)
        stage.run(host, "lsscsi --generic", partial(lines_of, own))
    stage.tell("They look like four disks.  mpio-fuse asks each for its identity (VPD page 0x83):")
    stage.run("a", f"mpio-fuse discover {' '.join(hosts.nodes('a'))}")
    found = stage.ask(f"mpio-fuse discover --json {' '.join(nodes)}").stdout
    luns = json.loads(found or '{"luns": []}')["luns"]
    grouped = [sorted(one["device_node"] for one in lun["underpaths"]) for lun in luns]
    stage.claim_equal("mpio-fuse finds one LUN behind all four nodes", grouped, [sorted(nodes)])
    wwid = luns[0]["wwid"]
    pages = [stage.ask(f"sg_vpd --page=di --quiet {node}").stdout.split()[:1] for node in nodes]
    expected = [[wwid.replace("naa.", "0x")]] * len(nodes)
    stage.claim_equal(
        "sg_vpd, an independent program, reads that identity on each", pages, expected
    )
    stage.variables |= {"A": f"/mnt/a/{wwid}", "B": f"/mnt/b/{wwid}"}


def lines_of(nodes: list[str], lines: list[str]) -> list[str]:
    """Leave the other host's nodes out of lsscsi's list: in the lab both hosts run on one kernel."""
    return [line for line in lines if line.split()[-1] in nodes]


def mount(story: Story) -> None:
    """Chapter 2: both hosts mount."""
    stage, hosts = story.stage, story.hosts
    stage.chapter("Each host mounts: one file per LUN")
    stage.tell("Each host has a reservation key of its own, the same on all its underpaths.")
    for host in ("a", "b"):
        nodes = " ".join(hosts.nodes(host))
        stage.run(host, f"mkdir -p /mnt/{host} /srv/{host}", nothing)
        stage.run(host, f"mpio-fuse mount /mnt/{host} --key {KEYS[host]:x} {nodes}")
        stage.run(host, f"ls -l /mnt/{host}")
        seen = stage.ask(f"cd /mnt/{host} && stat --format='%n %s' *").stdout.strip()
        name = stage.variables[host.upper()].rsplit("/", 1)[1]
        text = f"host {host.upper()} sees one file, of the LUN's {LUN_BYTES // MIB} MiB"
        stage.claim_equal(text, seen, f"{name} {LUN_BYTES}")
    stage.tell("From here on $A is the LUN's file on host A, $B the same LUN's on host B:")
    stage.show([f"{name}={value}" for name, value in stage.variables.items()])


def write_and_read_back(story: Story) -> None:
    """Chapter 3: data goes through, and over both underpaths."""
    stage, hosts = story.stage, story.hosts
    stage.chapter("Host A writes an ext4 image to the LUN and reads it back")
    stage.run(
        "a",
        "mkdir /tmp/tree && cp docs/*.md /tmp/tree && head -c 40M /dev/urandom > /tmp/tree/payload",
    )
    stage.run("a", f"mkfs.ext4 -q -d /tmp/tree /tmp/image {IMAGE_BYTES // MIB}M", nothing)
    before, kernel_before = underpaths(stage, "/mnt/a"), kernel_requests(stage, hosts, "a")
    stage.run("a", "dd if=/tmp/image of=$A bs=1M conv=fsync", lambda lines: lines[-1:])
    stage.run("a", "echo 3 > /proc/sys/vm/drop_caches  # so that what is read comes from the disk")
    story.image_sum = sha256(stage.run("a", "sha256sum < /tmp/image"))
    read_sum = sha256(stage.run("a", f"head -c {IMAGE_BYTES // MIB}M $A | sha256sum"))
    stage.claim_equal("what was read is what was written", read_sum, story.image_sum)
    stage.run("a", "mpio-fuse status", only_daemon_of_a)
    after, kernel_after = underpaths(stage, "/mnt/a"), kernel_requests(stage, hosts, "a")
    check_counters(stage, before, after)
    sent = {node: kernel_after[node] - kernel_before[node] for node in kernel_after}
    text = "the kernel, too, counted commands on both nodes: " + both(sent)
    stage.claim(text, holds=min(sent.values()) > 0, seen=sent)


def only_daemon_of_a(lines: list[str]) -> list[str]:
    """Leave host B's daemon out of a status: in the lab both run on one kernel."""
    starts = [index for index, line in enumerate(lines) if line.startswith("/mnt/")]
    wanted = [index for index in starts if lines[index].startswith("/mnt/a ")]
    ends = [index for index in starts if wanted and index > wanted[0]]
    return lines[wanted[0] : ends[0] if ends else None] if wanted else lines


def both(numbers: dict[str, int]) -> str:
    """Write down one number for each underpath."""
    return ", ".join(f"{number} on {node}" for node, number in numbers.items())


def check_counters(
    stage: Stage, before: dict[str, dict[str, int]], after: dict[str, dict[str, int]]
) -> None:
    """Both underpaths carried writes and reads, and all of the image came from the disk."""
    for verb, counter in (("write", "bytes_written"), ("read", "bytes_read")):
        grown = moved(before, after, counter)
        mib = {node: number // MIB for node, number in grown.items()}
        text = f"both underpaths carried the {verb}s: MiB {both(mib)}"
        holds = min(grown.values()) > 0 and sum(grown.values()) >= IMAGE_BYTES
        stage.claim(text, holds=holds, seen=grown)


def array_says_a(story: Story) -> None:
    """Chapter 4: the array's own view, while A has the LUN open."""
    stage, node = story.stage, story.hosts.nodes("a")[0]
    stage.chapter("While A has it open, the LUN is A's: the array says so")
    stage.tell(
        "Host A mounts the file system on the LUN's file; the loop device keeps the file open."
    )
    stage.run("a", "mount -o loop $A /srv/a")
    stage.run("a", f"echo '{NOTE}' > /srv/a/note && sync")
    stage.tell("sg_persist knows nothing of mpio-fuse; it asks the array:")
    found = show_registrations(stage, "a", node)
    ports = sorted({one.target_port for one in found if one.key == KEYS["a"]})
    text = f"host A's key 0x{KEYS['a']:x} is registered on both of its nexuses"
    stage.claim_equal(text, ports, [1, 2])
    text = f'one nexus holds the reservation, with A\'s key, type "{TYPE_OF_THE_STORY}"'
    stage.claim_equal(text, holders(found), [(KEYS["a"], TYPE_OF_THE_STORY)])


def b_is_refused(story: Story) -> None:
    """Chapter 5: B cannot open, and A notices nothing."""
    stage = story.stage
    stage.chapter("Host B's open is refused meanwhile")
    for command in ("dd if=$B of=/dev/null count=1", "dd if=/dev/zero of=$B bs=1M count=1"):
        result = stage.run("b", command, must_fail=True)
        stage.claim(
            f'it failed with "{EIO_TEXT}"', holds=EIO_TEXT in result.stderr, seen=result.stderr
        )
    number = stage.ask(f"python3 -c {PRINT_ERRNO} $B").stdout.strip()
    stage.claim_equal("open(2) itself gave errno 5, EIO", number, "5")
    stage.run("a", "echo 3 > /proc/sys/vm/drop_caches")
    written = sha256(stage.ask("sha256sum < /tmp/tree/payload"))
    stage.claim_equal(
        "A's data is untouched", sha256(stage.run("a", "sha256sum < /srv/a/payload")), written
    )


def b_after_a(story: Story) -> None:
    """Chapter 6: after A's close the LUN is B's for the asking."""
    stage, (a, b) = story.stage, (story.hosts.nodes("a")[0], story.hosts.nodes("b")[0])
    stage.chapter("A closes, B opens, and finds A's data")
    stage.run("a", "umount /srv/a")
    stage.claim_equal(
        "the last close has released the reservation", holders(wait_released(stage, a)), []
    )
    a_sum = sha256(stage.run("a", "sha256sum < $A"))
    wait_released(stage, a)
    story.lun_sum = sha256(stage.run("b", "sha256sum < $B"))
    stage.claim_equal("B reads what A reads, all of the LUN", story.lun_sum, a_sum)
    wait_released(stage, a)
    stage.run("b", "mount -o loop,ro $B /srv/b")
    note = stage.run("b", "cat /srv/b/note").stdout.strip()
    stage.claim_equal("A's last words are in B's file system", note, NOTE)
    found = show_registrations(stage, "b", b)
    stage.claim_equal(
        "now B's key holds the reservation", holders(found), [(KEYS["b"], TYPE_OF_THE_STORY)]
    )


def unmount(story: Story) -> None:
    """Chapter 9: nothing is left on the array."""
    stage, node = story.stage, story.hosts.nodes("a")[0]
    stage.chapter("Both unmount")
    for host in ("a", "b"):
        stage.run(host, f"mpio-fuse unmount /mnt/{host}")
    take_unit_attentions(stage, node)
    text = stage.run("a", f"sg_persist --in --read-keys {node}", lambda lines: lines[-1:]).stdout
    stage.claim("the array has no registrations left", holds="NO registered" in text, seen=text)
