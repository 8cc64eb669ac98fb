"""Where log records go, and in what shape.

Theory of operation
-------------------
Every module that logs says ``log = structlog.get_logger(__name__)`` and logs *state changes*: one record each,
the event named in a few fixed words, all that varies as keywords (``lun``, ``underpath``, ``cause``).  So a record is
found by its event, counted by its LUN, and never taken apart with a regular expression.

structlog makes the records, the standard library carries them.  Libraries that log the standard way take the same
road, and whoever embeds this package keeps their own handlers: `configure` replaces only what it set up itself.

A log that cannot be written, as on a full disk, can say so to nobody: `trouble` tells, until it can be written again.
"""

import logging
import sys
import time
from typing import TextIO

import attrs
import structlog
from structlog.typing import Processor

_HANDLER_NAME = "mpio-fuse"

# What every record gets on its way, whoever made it.
_ENRICH: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


@attrs.frozen
class Trouble:
    """Why records cannot be written, since when (Unix time), and how many could not."""

    problem: str
    since_s: float
    records: int


class _Handler(logging.StreamHandler[TextIO]):
    """Remembers what its stream says instead of telling the stream of it."""

    trouble: Trouble | None = None
    _has_failed = False

    def emit(self, record: logging.LogRecord) -> None:
        self._has_failed = False
        super().emit(record)
        if self._has_failed or self.trouble is None:
            return
        was, self.trouble = self.trouble, None
        logging.getLogger(__name__).warning(
            "log could not be written", extra={"cause": was.problem, "records": was.records}
        )

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._has_failed = True
        was = self.trouble or Trouble("", time.time(), 0)
        problem = error.strerror or str(error)
        self.trouble = attrs.evolve(was, problem=problem, records=was.records + 1)


def trouble() -> Trouble | None:
    """What keeps the log from being written; None: nothing that is known."""
    handlers = logging.getLogger().handlers
    return next((each.trouble for each in handlers if isinstance(each, _Handler)), None)


def configure(level: int | str, *, json: bool, stream: TextIO | None = None) -> None:
    """Send log records of ``level`` and above to ``stream``, standard error unless given.

    ``json`` is for programs: one JSON object a line.  Otherwise lines are for people, coloured on a terminal.
    May be called again; the last call counts.

    Raises:
        ValueError: ``level`` is not the name or number of a level.
    """
    stream = stream or sys.stderr
    handler = _Handler(stream)
    handler.set_name(_HANDLER_NAME)
    handler.setFormatter(_formatter(json=json, colors=stream.isatty()))
    root = logging.getLogger()
    root.setLevel(level)
    _replace_handler(root, handler)
    route_to_stdlib()


def route_to_stdlib() -> None:
    """Hand structlog's records to the standard library, and leave handlers and levels alone."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_ENRICH,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a module's logger exists before anybody configures it
    )


def _replace_handler(root: logging.Logger, handler: logging.Handler) -> None:
    for old in [each for each in root.handlers if each.get_name() == _HANDLER_NAME]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)


def _formatter(*, json: bool, colors: bool) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_ENRICH, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_renderers(json=json, colors=colors),
        ],
    )


def _renderers(*, json: bool, colors: bool) -> list[Processor]:
    if json:
        return [
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(default=repr),
        ]
    return [structlog.dev.ConsoleRenderer(colors=colors)]
