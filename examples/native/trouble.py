"""The chapters in which something fails: a cable, then a host."""

import re
from pathlib import Path

import examples.demo.ticker
from examples.demo.stage import Stage
from examples.demo.ticker import HANGING, MORE_TRIES, OFFSET_BYTES
from examples.demo.trouble import BADE_TEXT, TAKE
from examples.native.looks import (
    Story,
    daemon,
    held_by,
    holder,
    moved,
    sha256,
    underpaths,
    wait_for,
    wait_released,
)
from tests.lab.job import Job

TICKER = Path(examples.demo.ticker.__file__)
TICK = re.compile(rb"tick (\d+)\n")
TICK_BYTES = 64


def cable_is_pulled(story: Story) -> None:
    """Chapter 7: a cable of B's is pulled in the middle of a read."""
    stage, site = story.stage, story.site
    stage.chapter("One of B's cables is pulled in the middle of a read")
    urls = site.urls("b")
    cable = site.cables["b"][1]
    stage.tell("After 10 MiB the relay that is cable B2 is killed.")
    stage.variables["CABLE"] = str(cable.pid)
    read = "{ head -c 10M; kill -KILL $CABLE; cat; } < $B | sha256sum"
    read_sum = sha256(stage.run("b", read))
    text = "the read went on to the end, and every byte is right"
    stage.claim_equal(text, read_sum, story.lun_sum)
    cable.pull()
    stage.run("b", "mpio-fuse status")
    states = {url: one["state"] for url, one in underpaths(stage, "b").items()}
    expected = dict(zip(urls, ("up", "down"), strict=True))
    stage.claim_equal("B2 is down, the other underpath up", states, expected)
    stage.tell("It is plugged in again, and after its time of probation it carries again.")
    cable.plug()
    wait_for(stage, "B2 comes back", lambda: underpaths(stage, "b")[urls[1]]["state"] == "up")
    wait_released(stage)
    before = underpaths(stage, "b")
    stage.claim_equal(
        "the LUN is as it was", sha256(stage.run("b", "sha256sum < $B")), story.lun_sum
    )
    grown = moved(before, underpaths(stage, "b"), "reads")
    stage.claim("both underpaths carry reads again", holds=min(grown.values()) > 0, seen=grown)
    wait_released(stage)


def takeover(story: Story) -> None:
    """Chapter 8: B will not let go, A takes the LUN."""
    stage = story.stage
    stage.chapter("B hangs on to the LUN, and A takes it over")
    stage.tell("A program of host B's writes to the LUN, again and again, and never stops:")
    stage.variables["TICKER"] = str(TICKER)
    ticker = stage.spawn("b", "python3 $TICKER $B")
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
    found = holder(stage.run("a", "mpio-fuse persist read-reservation $ARRAY"))
    stage.claim_equal("the array has given A the reservation", found, held_by("a"))
    check_log(story)
    check_last_tick(story, lines)
    stage.claim_equal(
        "B's daemon knows that it is fenced", daemon(stage, "b")["fenced"], expected=True
    )
    end_both(stage, ticker, taker)


def end_both(stage: Stage, ticker: Job, taker: Job) -> None:
    """Kill both programs."""
    stage.end("b", ticker)
    stage.end("a", taker)
    wait_released(stage)


def check_log(story: Story) -> None:
    """Without Preempt And Abort at the array, what B had under way is dead by a reset, before A's open is granted."""
    log = story.site.a.log()
    order = [
        log.find(text) for text in ("no preempt and abort", "logical unit reset", "FORCED_OPEN")
    ]
    text = "tgtd has no PREEMPT AND ABORT, so A's open was granted after a LUN reset"
    story.stage.claim(text, holds=order == sorted(order) and min(order) >= 0, seen=log)


def check_last_tick(story: Story, lines: list[str]) -> None:
    """Nothing that B was told had failed after the takeover is on the medium."""
    last = int(re.findall(r"(\d+) ticks were written", "\n".join(lines))[0])
    found = TICK.match(story.site.medium(OFFSET_BYTES, TICK_BYTES))
    seen = int(found[1]) if found else None
    # The write under way at the takeover was aborted, perhaps after it had landed: that one's fate is unknown.
    text = "B's last good write is on the medium, later ones are not"
    story.stage.claim(text, holds=seen in (last, last + 1), seen=f"tick {seen}, last {last}")
