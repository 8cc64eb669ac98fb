"""Runs one case: load on host a, what happens, what was seen, and what is on the medium in the end."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from tests.native.cases import Case
from tests.native.place import Place, built
from tests.reliability.figures import Seen, seen, wrong_at_the_end
from tests.reliability.layout import BLOCK_BYTES, STANDING, WRITTEN
from tests.reliability.load import FioReport, Load

BEFORE_S = 1.5
AFTER_S = 2.0
BACK_LIMIT_S = 60.0
POLL_S = 0.1
SAID_LINES = 30


@attrs.frozen
class Outcome:
    """What came of a case.

    ``longest_failure_s``: how long the longest operation that failed took, 0.0: none.  ``back_s``: how long after the
    end of the case all underpaths carried again; None: they did not by the limit.
    """

    case: str
    writer: Seen
    reader: Seen
    fio: FioReport
    longest_failure_s: float
    wrong: list[str]
    back_s: float | None
    said: list[str]

    @property
    def stall_s(self) -> float:
        return max(self.writer.stall_s, self.reader.stall_s)

    @property
    def errors(self) -> dict[str, int]:
        return {**self.writer.errors, **self.reader.errors}

    def complaints(self, case: Case, *, with_times: bool) -> list[str]:
        """What must not be so; nothing, if all is well."""
        found = [f"wrong bytes: {one}" for one in self.wrong]
        unexpected = sorted(set(self.errors) - case.may_see)
        if unexpected:
            found.append(f"a program was told {', '.join(unexpected)}")
        if self.fio.error and not case.may_see:
            found.append(f"fio ended with error {self.fio.error}: {self.fio.said}")
        if self.back_s is None:
            found.append(f"not all underpaths carried again within {BACK_LIMIT_S:g} s")
        return found + (self._late(case) if with_times else [])

    def _late(self, case: Case) -> list[str]:
        found = []
        if self.stall_s > case.longest_stall_s and "EBADE" not in self.errors:
            found.append(f"stalled {self.stall_s:.2f} s, allowed {case.longest_stall_s:g} s")
        limit_s = case.longest_wait_s
        if limit_s is not None and self.longest_failure_s > limit_s:
            found.append(f"waited {self.longest_failure_s:.2f} s for an error, allowed {limit_s:g}")
        return found

    def line(self) -> str:
        """For people."""
        back = "-" if self.back_s is None else f"{self.back_s:.1f} s"
        errors = ", ".join(f"{name} x {count}" for name, count in sorted(self.errors.items()))
        longest = f" (after {self.longest_failure_s:.1f} s)" if self.longest_failure_s else ""
        return (
            f"{self.case:18} stall: writer {self.writer.stall_s:5.2f} s, reader"
            f" {self.reader.stall_s:5.2f} s, fio {self.fio.longest_s:5.2f} s; back after {back};"
            f" errors: {errors or 'none'}{longest}; wrong bytes: {len(self.wrong)}"
        )


def run_case(case: Case, directory: Path) -> Outcome:
    """Build a place, run the case there, and take it down."""
    with built(directory, case.settings, case.hosts, with_wires=case.with_wires) as place:
        place.mount("a")
        load = Load(str(place.a.lun), fio_output=directory / "fio.json")
        try:
            time.sleep(BEFORE_S)
            struck_s = time.monotonic()
            case.act(place)
            back_s = wait_until_back(place, BACK_LIMIT_S)
            time.sleep(AFTER_S)
            noted, fio = load.finish()
        finally:
            load.kill()
        said = place.a.log().splitlines()[-SAID_LINES:]
        place.a.unmount()
        return outcome(
            case.name, struck_s, noted, fio, back_s, _wrong(case, place, noted, fio), said
        )


def wait_until_back(place: Place, limit_s: float) -> float | None:
    """Wait until every underpath is in service; how long that took."""
    began_s = time.monotonic()
    while time.monotonic() < began_s + limit_s:
        status = place.a.status()
        if status["fenced"] or all(one["state"] == "up" for one in status["underpaths"]):
            return round(time.monotonic() - began_s, 1)
        time.sleep(POLL_S)
    return None


def _wrong(case: Case, place: Place, noted: Mapping[str, Any], fio: FioReport) -> list[str]:
    if case.medium is not None:
        return [*noted["wrong"], *case.medium(place)]
    return wrong_bytes(place, noted, fio)


def wrong_bytes(place: Place, noted: Mapping[str, Any], fio: FioReport) -> list[str]:
    """What was read or is on the medium, and should not."""
    blocks = {
        region.name: _blocks(place, region.offset_bytes, region.slots)
        for region in (WRITTEN, STANDING)
    }
    wrong = [*noted["wrong"], *wrong_at_the_end(noted, blocks)]
    return [*wrong, f"fio: {fio.said}"] if fio.found_wrong_bytes else wrong


def _blocks(place: Place, offset_bytes: int, slots: int) -> Sequence[bytes]:
    data = place.medium(offset_bytes, slots * BLOCK_BYTES)
    return [data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES)]


def outcome(
    name: str,
    struck_s: float,
    noted: Mapping[str, Any],
    fio: FioReport,
    back_s: float | None,
    wrong: list[str],
    said: list[str],
) -> Outcome:
    operations = [*noted["writer"], *noted["reader"]]
    failures = [took_s for _, took_s, error in operations if error is not None]
    return Outcome(
        name, seen(noted["writer"], struck_s), seen(noted["reader"], struck_s), fio,
        round(max(failures, default=0.0), 3), wrong, back_s, said,
    )  # fmt: skip
