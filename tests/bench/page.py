"""The tables in a page of the manual: what is between two marks is replaced by what was just measured."""

import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.bench.measure import Plan


@attrs.define
class Conditions:
    """Under which it was measured, for who reads the figures."""

    place: str
    plan: Plan
    load_before: float = 0
    load_after: float = 0
    took_s: float = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note the load average on entering and leaving, and the time between."""
        began_s, self.load_before = time.monotonic(), os.getloadavg()[0]
        yield
        self.took_s, self.load_after = time.monotonic() - began_s, os.getloadavg()[0]

    def __str__(self) -> str:
        rounds = f"{self.plan.rounds} round{'s' * (self.plan.rounds > 1)}"
        return (
            f"{rounds} of {self.plan.runtime_s:g} s {self.place}, {self.took_s:.0f} s in all, on a machine with"
            f" {os.cpu_count()} CPUs ({platform.system()} {platform.release().partition('-')[0]}); load average"
            f" {self.load_before:.1f} at the start, {self.load_after:.1f} at the end."
        )


@attrs.frozen
class Page:
    """A page that has ``<!-- bench NAME -->`` and ``<!-- end -->`` around what is replaced."""

    file: Path
    name: str

    def check(self) -> None:
        """ValueError: the page has no such place."""
        self._replaced("")

    def write(self, text: str) -> None:
        self.file.write_text(self._replaced(text), encoding="utf-8")

    def _replaced(self, text: str) -> str:
        old = self.file.read_text(encoding="utf-8")
        begin = f"<!-- bench {self.name} -->\n"
        new, count = re.subn(
            f"({re.escape(begin)})(?:(?!<!-- bench ).)*?(<!-- end -->)",
            lambda found: f"{found[1]}{text}\n{found[2]}",
            old,
            flags=re.DOTALL,
        )
        if count != 1:
            raise ValueError(f"{self.file}: {count} places for tables, marked {begin.strip()}")
        return new
