"""Faults on the command line: one in each argument, or a file of them as ``@FILE``."""

from collections.abc import Sequence
from pathlib import Path

from mpio_fuse.errors import MpioError, UsageError
from mpio_fuse.transport.fault_language import parse_fault, parse_script
from mpio_fuse.transport.fault_spec import FaultSpec

MAXIMUM_FILE_BYTES = 1 << 20


def named_faults(texts: Sequence[str]) -> tuple[FaultSpec, ...]:
    """All the faults of these arguments, in order.

    Raises:
        UsageError: there is no such file, or a fault cannot be understood.
        MpioError: a file cannot be read.
    """
    found: list[FaultSpec] = []
    for text in texts:
        if text.startswith("@"):
            found += parse_script(_read(Path(text[1:])), text[1:])
        else:
            found.append(parse_fault(text))
    return tuple(found)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAXIMUM_FILE_BYTES + 1)
        text = data.decode("utf-8")
    except FileNotFoundError:
        raise UsageError(f"{file}: no such file of faults") from None
    except OSError as error:
        raise MpioError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file}: not text, so no file of faults") from None
    if len(data) > MAXIMUM_FILE_BYTES:
        raise UsageError(f"{file}: longer than any file of faults")
    return text
