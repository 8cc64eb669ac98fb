"""How a daemon in the background tells the command that started it how starting went.

One line of JSON for each thing: ``{"warning": text}`` any number of times, then ``{"ready": true}`` or
``{"errors": [text, ...], "status": exit status}``.  The end of the stream without either: the daemon died.
"""

import json
import os
from collections.abc import Sequence
from typing import Protocol


class Readiness(Protocol):
    """Whom to tell."""

    def warn(self, text: str) -> None:
        """Something the administrator should see, though the daemon goes on."""
        ...

    def ready(self) -> None:
        """The tree is usable.  Nothing is told after this."""
        ...


class Unheard:
    """In the foreground: the log says it all."""

    def warn(self, text: str) -> None:
        """See `Readiness`."""

    def ready(self) -> None:
        """See `Readiness`."""


class Pipe:
    """The writing end of a pipe to the command that started us."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd
        os.set_inheritable(fd, False)  # noqa: FBT003 - positional only

    def warn(self, text: str) -> None:
        self._tell({"warning": text})

    def ready(self) -> None:
        self._tell({"ready": True})
        self._close()

    def fail(self, errors: Sequence[str], status: int) -> bool:
        """Starting has failed.  False, and nothing is told, when the daemon was ready already."""
        was_listening = self._fd is not None
        self._tell({"errors": list(errors), "status": status})
        self._close()
        return was_listening

    def _tell(self, message: dict[str, object]) -> None:
        if self._fd is None:
            return
        try:
            os.write(self._fd, json.dumps(message).encode() + b"\n")
        except BrokenPipeError:  # whoever started us is gone; that stops nobody
            self._close()

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
