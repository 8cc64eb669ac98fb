"""Where log records go, and in what shape.

Theory of operation
-------------------
Every module that logs says ``log = structlog.get_logger(__name__)`` and logs *state changes*: one record each,
the event named in a few fixed words, all that varies as keywords (``lun``, ``underpath``, ``cause``).  So a record is
found by its event, counted by its LUN, and never taken apart with a regular expression.

structlog makes the records, the standard library carries them.  Libraries that log the standard way take the same
road, and whoever embeds this package keeps their own handlers: `configure` replaces only what it set up itself.
"""

import logging
import sys
from typing import TextIO

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


def configure(level: int | str, *, json: bool, stream: TextIO | None = None) -> None:
    """Send log records of ``level`` and above to ``stream``, standard error unless given.

    ``json`` is for programs: one JSON object a line.  Otherwise lines are for people, coloured on a terminal.
    May be called again; the last call counts.

    Raises:
        ValueError: ``level`` is not the name or number of a level.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
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
