"""What happens to links and target, and what a program that reads and writes may notice.  The table; see the end."""

import os
import signal
import time
from collections.abc import Callable, Iterable

import attrs

from tests.native.links import Link
from tests.native.place import Place
from tests.reliability.command import wait_for
from tests.reliability.layout import BLOCK_BYTES, WRITTEN, stamp

HOST_A = "a"
OF_B = "of-b"
FIRST, SECOND = 0, 1
OUT_S = 5.0
"""For how long a link is down: longer than any clock that tells a cut from a delay."""
FLAPS = 8
FLAP_S = 1.5
NO_PATH_S = 4.0
LIMIT_S = 60.0

Act = Callable[[Place], None]


@attrs.frozen
class Case:
    """``act`` strikes and lifts.  ``settings``: TOML; empty: the defaults.

    ``hosts``: their names; a has the load.  ``medium``: what is wrong with the medium in the end, if it is not to be
    as host a was told.

    ``longest_stall_s``: the longest time without a success that is right, by default settings on a machine that has
    time for it.  ``longest_wait_s``: the same for an operation that fails.
    """

    name: str
    what: str
    act: Act
    longest_stall_s: float
    longest_wait_s: float | None = None
    may_see: frozenset[str] = frozenset()
    settings: str = ""
    with_wires: bool = False
    is_quick: bool = False
    hosts: str = "a"
    medium: Callable[[Place], list[str]] | None = None


def links_of(place: Place) -> list[Link]:
    return place.links[HOST_A]


def cut(end: str, numbers: Iterable[int] = (FIRST,), out_s: float = OUT_S) -> Act:
    """Links go down at one end, "here" or "there", and come up again in the same order."""

    def act(place: Place) -> None:
        chosen = [links_of(place)[number] for number in numbers]
        for link in chosen:
            set_state(link, end, "down")
        time.sleep(out_s)
        for link in chosen:
            set_state(link, end, "up")

    return act


def set_state(link: Link, end: str, state: str) -> None:
    (link.set_here if end == "here" else link.set_there)(state)


def cut_one_after_the_other(place: Place) -> None:
    """The second goes when the first is back and in service: no moment without a link, and none that was not cut."""
    for link, url in zip(links_of(place), place.urls(HOST_A), strict=True):
        link.set_here("down")
        wait_for(lambda: place.a.underpaths()[url]["state"] != "up", LIMIT_S, "its loss")  # noqa: B023
        link.set_here("up")
        wait_for(lambda: place.a.underpaths()[url]["state"] == "up", LIMIT_S, "its return")  # noqa: B023


def both_cut_and_one_back(place: Place) -> None:
    first, second = links_of(place)
    for link in (first, second):
        link.set_here("down")
    time.sleep(OUT_S)
    second.set_here("up")
    time.sleep(OUT_S * 2)
    first.set_here("up")


def flap(end: str, numbers: Iterable[int]) -> Act:
    """Down and up, at equal times; several links in turn."""

    def act(place: Place) -> None:
        chosen = [links_of(place)[number] for number in numbers]
        for turn in range(FLAPS):
            link = chosen[turn % len(chosen)]
            set_state(link, end, "down")
            time.sleep(FLAP_S)
            set_state(link, end, "up")
            time.sleep(FLAP_S)

    return act


def disturb(numbers: Iterable[int], delay_s: float = 0.0, loss: float = 0.0) -> Act:
    def act(place: Place) -> None:
        for number in numbers:
            links_of(place)[number].disturb(delay_s, loss)
        time.sleep(OUT_S * 2)
        for number in numbers:
            links_of(place)[number].disturb()

    return act


def stop_target(out_s: float) -> Act:
    """The target's process does nothing; its kernel goes on acknowledging."""

    def act(place: Place) -> None:
        process = place.tgtd.process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        time.sleep(out_s)
        process.send_signal(signal.SIGCONT)

    return act


def restart_target(out_s: float) -> Act:
    """It is killed, and started again with the same disk: registrations and reservation are forgotten."""

    def act(place: Place) -> None:
        place.kill_target()
        time.sleep(out_s)
        place.start_target()

    return act


def end_session(place: Place) -> None:
    """The target ends one of host a's sessions.  It forgets that nexus's registration, and lists its key on."""
    text = place.tgtd.admin("target", "show")
    sid = session_from(text, links_of(place)[FIRST].target_address.rsplit(".", 1)[0])
    cid = "0"
    place.tgtd.admin("conn", "delete", "--tid", "1", "--sid", sid, "--cid", cid)
    time.sleep(OUT_S)


def session_from(shown: str, network: str) -> str:
    """The number of the session whose initiator's address is in ``network``, from what tgtadm shows."""
    number = ""
    for line in shown.splitlines():
        words = line.split()
        if words[:3] == ["I_T", "nexus:", words[-1]]:
            number = words[-1]
        if words[:2] == ["IP", "Address:"] and words[2].startswith(f"{network}."):
            return number
    raise ValueError(f"no session from {network} in:\n{shown}")


def take_over(place: Place) -> None:
    """Host a is cut off, host b takes the disk and writes where a was writing, and a's links come back."""
    place.mount("b")
    for link in links_of(place):
        link.set_here("down")
    time.sleep(1.0)
    fd = os.open(place.b.with_options("forced"), os.O_RDWR | os.O_DSYNC)
    for slot, offset_bytes in enumerate(WRITTEN.offsets()):
        os.pwrite(fd, stamp(OF_B, slot, 1), offset_bytes)
    for link in links_of(place):
        link.set_here("up")
    place.a.wait_until(lambda lun: lun["fenced"], "to know that it is fenced")
    time.sleep(OUT_S)
    os.close(fd)
    place.b.wait_until(lambda lun: not lun["opens"], "its close")
    place.b.unmount()


def not_of_b(place: Place) -> list[str]:
    """The blocks that are not as host b wrote them."""
    blocks = [place.medium(offset_bytes, BLOCK_BYTES) for offset_bytes in WRITTEN.offsets()]
    return [
        f"slot {slot} ends as {block[:40]!r}, which is not host b's"
        for slot, block in enumerate(blocks)
        if block != stamp(OF_B, slot, 1)
    ]


CASES = (
    Case("cut-here", "a link down at the host", cut("here"), 2.0, is_quick=True),
    Case("cut-there", "a link down at the target", cut("there"), 2.0),
    Case("cut-in-turn", "first one link, then the other", cut_one_after_the_other, 2.0),
    Case(
        "black-hole", "a link carries nothing, and both ends are up",
        disturb((FIRST,), loss=1.0), 2.0, with_wires=True,
    ),
    Case(
        "loss", "1 % of the packets are lost, on both links",
        disturb((FIRST, SECOND), loss=0.01), 3.0, with_wires=True, is_quick=True,
    ),
    Case(
        "heavy-loss", "10 % of the packets are lost, on one link",
        disturb((FIRST,), loss=0.1), 5.0, with_wires=True,
    ),
    Case(
        "delay", "packets are late by 100 ms each way, on one link",
        disturb((FIRST,), delay_s=0.1), 2.0, with_wires=True,
    ),
    Case(
        "long-delay", "packets are late by 600 ms each way, on both links",
        disturb((FIRST, SECOND), delay_s=0.6), 8.0, with_wires=True,
    ),
    Case("session-ended", "the target ends one session", end_session, 2.0),
    Case("target-stops", "it answers nothing for 3 s", stop_target(3.0), 5.0),
    Case("target-hangs", "it answers nothing for 15 s", stop_target(15.0), 30.0),
    Case(
        "target-restarts", "it forgets registrations and reservation",
        restart_target(1.0), 20.0, may_see=frozenset({"EBADE"}),
    ),
    Case(
        "take-over", "a host without links, and another takes the disk",
        take_over, 60.0, may_see=frozenset({"EBADE"}), hosts="ab", medium=not_of_b,
    ),
    Case("flapping", "one link goes and comes", flap("here", (FIRST,)), 2.0),
    Case("flapping-both", "both in turn, never both down", flap("there", (FIRST, SECOND)), 10.0),
    Case("both-cut-one-back", "no link for 5 s, then one", both_cut_and_one_back, 15.0),
    Case(
        "both-cut", f"no link for longer than no_path_timeout ({NO_PATH_S:g} s)",
        cut("here", (FIRST, SECOND), 12.0), 25.0, longest_wait_s=NO_PATH_S + 4.0,
        may_see=frozenset({"EIO"}), settings=f"[underpaths]\nno_path_timeout = {NO_PATH_S}",
    ),
)  # fmt: skip
