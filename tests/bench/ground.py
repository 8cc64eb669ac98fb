"""Where the benchmark can be run: what is compared there, and with whom."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import attrs

from tests.bench.stage import Stage, Subject

AnyStage = TypeVar("AnyStage", bound=Stage)


@attrs.frozen
class Ground(Generic[AnyStage]):
    """Subjects by the letters that tables and options call them, and the pairs whose ratios are taken.

    A letter's first pair is the one that is drawn.
    """

    subjects: Mapping[str, Callable[[AnyStage], Subject]]
    pairs: Sequence[tuple[str, str]]
    _stage: Callable[[Path], AbstractContextManager[AnyStage]]

    @property
    def letters(self) -> str:
        return "".join(self.subjects)

    @contextmanager
    def ready(self, directory: Path, letters: str) -> Iterator[Mapping[str, Subject]]:
        """Set some subjects up in an empty directory; whatever was started has ended afterwards."""
        with self._stage(directory) as stage:
            yield {
                letter: make(stage) for letter, make in self.subjects.items() if letter in letters
            }
