"""The chapters in which something fails: an underpath, then a host."""

import re
from typing import Any

from examples.demo.array_view import TYPE_OF_THE_STORY
from examples.demo.looks import (
    KEYS,
    Hosts,
    holders,
    moved,
    sha256,
    show_registrations,
    underpaths,
    wait_in_service,
    wait_released,
)
from examples.demo.stage import Stage
from examples.demo.ticker import HANGING, MORE_TRIES, OFFSET_BYTES

BADE_TEXT = "[Errno 52]"
TAKE = "import os, sys, time; os.open(sys.argv[1], os.O_RDWR | os.O_ASYNC); print('taken'); time.sleep(60)"


def underpath_fails(stage: Stage, hosts: Hosts, lun_sum: str) -> None:
    """Chapter 7: a cable of B's is pulled while B reads its mounted file system."""
    stage.chapter("One of B's underpaths fails in the middle of a read")
    before = underpaths(stage, "/mnt/b")
    victim = next((node for node, one in before.items() if not one["holder"]), "")
    state = f"{hosts.device_directory(victim)}/state"
    stage.tell(f"After 10 MiB of the file the kernel is told to refuse all commands to {victim}.")
    cut = f"{{ head -c 10M; echo offline > {state}; cat; }} < /srv/b/payload | sha256sum"
    read_sum = sha256(stage.run("b", cut))
    written = sha256(stage.ask("sha256sum < /tmp/tree/payload"))
    stage.claim_equal("the read went on to the end, and every byte is right", read_sum, written)
    stage.run("b", "mpio-fuse status", daemon_of_b)
    after = underpaths(stage, "/mnt/b")
    states = {node: one["state"] for node, one in after.items()}
    expected = {node: "down" if node == victim else "up" for node in before}
    stage.claim_equal(f"{victim} is down, the other underpath up", states, expected)
    repaired(stage, hosts, state, after, lun_sum)


def daemon_of_b(lines: list[str]) -> list[str]:
    """Leave host A's daemon out of a status: in the lab both run on one kernel."""
    start = next((index for index, line in enumerate(lines) if line.startswith("/mnt/b ")), 0)
    return lines[start:]


def repaired(
    stage: Stage, hosts: Hosts, state: str, before: dict[str, dict[str, Any]], lun_sum: str
) -> None:
    """The rest of chapter 7: a check finds the underpath, and some seconds later it is used again."""
    stage.tell(
        "It is repaired.  A check finds it; once it has held for ten seconds it is used again."
    )
    stage.run("b", f"echo running > {state}")
    stage.run("b", "umount /srv/b")
    wait_released(stage, hosts.nodes("b")[0])
    states = {node: one["state"] for node, one in wait_in_service(stage, "/mnt/b").items()}
    stage.claim_equal("every underpath is up", states, dict.fromkeys(states, "up"))
    stage.claim_equal("the LUN is as it was", sha256(stage.run("b", "sha256sum < $B")), lun_sum)
    grown = moved(before, underpaths(stage, "/mnt/b"), "reads")
    stage.claim("both underpaths carry reads again", holds=min(grown.values()) > 0, seen=grown)
    wait_released(stage, hosts.nodes("b")[0])


def takeover(stage: Stage, hosts: Hosts) -> None:
    """Chapter 8: B will not let go, A takes the LUN."""
    stage.chapter("B hangs on to the LUN, and A takes it over")
    stage.tell("A program of host B's writes to the LUN, again and again, and never stops:")
    ticker = stage.spawn("b", "python3 examples/demo/ticker.py $B")
    stage.wait_for_output(ticker, "ticking")
    stage.tell("The cluster decides that the LUN is A's.  A's forced open (O_ASYNC asks for it):")
    taker = stage.spawn("a", f'python3 -c "{TAKE}" $A')
    stage.wait_for_output(taker, "taken")
    stage.show([taker.stdout])
    stage.wait_for_output(ticker, HANGING)
    lines = ticker.stdout.splitlines()
    stage.tell("B's program reports:")
    stage.show(lines[1:])
    fenced = [line for line in lines if BADE_TEXT in line]
    text = "B's next write failed with EBADE, and so did every later one of that open"
    stage.claim(text, holds=len(fenced) == 1 + MORE_TRIES, seen=lines)
    check_array(stage, hosts)
    check_last_tick(stage, lines)
    stage.end("b", ticker)
    stage.end("a", taker)
    wait_released(stage, hosts.nodes("a")[0])


def check_array(stage: Stage, hosts: Hosts) -> None:
    """The array has taken the reservation from B and given it to A."""
    found = show_registrations(stage, "a", hosts.nodes("a")[0])
    held = [(KEYS["a"], TYPE_OF_THE_STORY)]
    stage.claim_equal("the array has given A the reservation", holders(found), held)


def check_last_tick(stage: Stage, lines: list[str]) -> None:
    """Nothing that B was told had failed after the takeover is on the disk."""
    last = int(re.findall(r"(\d+) ticks were written", "\n".join(lines))[0])
    skip = OFFSET_BYTES >> 20
    text = stage.run(
        "a", f"dd if=$A bs=1M skip={skip} count=1 iflag=direct status=none | head -n 1"
    )
    found = re.findall(r"tick (\d+)", text.stdout)
    # The write under way at the takeover was aborted, perhaps after it had landed: that one's fate is unknown.
    holds = found in ([str(last)], [str(last + 1)])
    stage.claim(
        "B's last good write is on the disk, later ones are not", holds=holds, seen=text.stdout
    )
