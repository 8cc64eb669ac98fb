"""What came of a case: a record, whether that is as it must be, and a line of the table.  Pure."""

from collections.abc import Iterable

import attrs

from tests.reliability.figures import Seen


@attrs.frozen
class Outcome:
    """One case on one system.

    ``back_s``: how long after the fault was lifted all underpaths were in service again, None: they were not by the
    end.  ``said``: the end of the system's log; ``left``: what it says it could not undo at its own end.
    """

    case: str
    system: str
    writer: Seen
    reader: Seen
    bad_reader: Seen | None
    opener: Seen | None
    fio_error: int
    fio_operations: int
    fio_longest_s: float
    wrong: list[str]
    back_s: float | None
    said: list[str] = attrs.Factory(list)
    left: list[str] = attrs.Factory(list)

    def complaints(self, may_see: Iterable[str], bad_reader_sees: str | None) -> list[str]:
        """What must not be so; nothing, if all is well."""
        found = [f"wrong bytes: {one}" for one in self.wrong] + self.left
        told = {"writer": self.writer, "reader": self.reader, "opener": self.opener}
        for who, seen in told.items():
            if seen is not None and not set(seen.errors) <= set(may_see):
                found.append(f"the {who} was told {_errors(seen)}")
        if self.fio_error and not self._is_excused(may_see):
            found.append(f"fio ended with error {self.fio_error}")
        if self.bad_reader is not None and set(self.bad_reader.errors) != {bad_reader_sees}:
            found.append(f"the bad sector was read with {_errors(self.bad_reader)}")
        return found

    def _is_excused(self, may_see: Iterable[str]) -> bool:
        return bool(set(may_see) & (set(self.writer.errors) | set(self.reader.errors)))

    def line(self) -> str:
        """For people."""
        back = "-" if self.back_s is None else f"{self.back_s:.1f}"
        return (
            f"{self.case:24} {self.system:13} stall: writer {self.writer.stall_s:6.2f} s, reader"
            f" {self.reader.stall_s:6.2f} s; back after {back} s; errors: writer"
            f" {_errors(self.writer)}, reader {_errors(self.reader)};"
            f" wrong bytes: {len(self.wrong)}"
        )


def _errors(seen: Seen) -> str:
    if not seen.errors:
        return "none"
    counts = ", ".join(f"{name} x {count}" for name, count in sorted(seen.errors.items()))
    return f"{counts} from {seen.first_error_s} s"
