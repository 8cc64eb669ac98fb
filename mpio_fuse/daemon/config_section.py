"""Reading one TOML table strictly: every key is known, every value of the right type, every error says where."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from mpio_fuse.errors import UsageError

T = TypeVar("T")


class Section:
    """A table of a configuration file, its keys taken one by one; `finish` refuses what was not taken."""

    def __init__(self, where: str, table: Mapping[str, object]) -> None:
        """``where`` names file and table, as ``/etc/mpio-fuse.toml: [timeouts]``."""
        self.where = where
        self._table = dict(table)
        self._known: list[str] = []

    def take(self, key: str, decode: Callable[[object], T], default: T) -> T:
        """The value of a key, decoded; the default when it is absent.

        Raises:
            UsageError: ``decode`` raised ValueError or an error of ours.
        """
        self._known.append(key)
        if key not in self._table:
            return default
        try:
            return decode(self._table.pop(key))
        except (ValueError, UsageError) as error:
            raise UsageError(f"{self.where}: {key}: {error}") from None

    def section(self, key: str, where: str | None = None) -> "Section":
        """The table under a key, empty when absent."""
        nothing: Mapping[str, object] = {}
        table = self.take(key, _table, nothing)
        return Section(where or f"{self.where} [{key}]", table)

    def sections(self, key: str) -> "dict[str, Section]":
        """The tables under a key, by their names: ``[luns."naa.6001405"]``."""
        parent = self.section(key)
        parent._known.extend(parent._table)  # noqa: SLF001 - same class
        return {name: parent.section(name) for name in list(parent._table)}  # noqa: SLF001 - same class

    def finish(self) -> None:
        """Refuse keys nobody took.

        Raises:
            UsageError: there are some.
        """
        for key in self._table:
            known = ", ".join(sorted(set(self._known))) or "none"
            raise UsageError(f"{self.where}: unknown key {key!r}", hint=f"known keys: {known}")


def _table(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not a table")  # noqa: TRY004 - a decoder raises ValueError
    return value


def text(value: object) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a text")
    return value


def texts(value: object) -> tuple[str, ...]:
    """A list of strings."""
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list")  # noqa: TRY004 - a decoder raises ValueError
    return tuple(text(item) for item in value)


def truth(value: object) -> bool:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")  # noqa: TRY004 - a decoder raises ValueError
    return value


def seconds(value: object) -> float:
    """A time that is not zero."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < float(str(value)) < 1e6:
        raise ValueError(f"{value!r} is not a number of seconds above 0")
    return float(str(value))


def seconds_or_zero(value: object) -> float:
    """A time that may be zero."""
    try:
        return 0.0 if _is_zero(value) else seconds(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a number of seconds") from None


def _is_zero(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == 0


def count(value: object) -> int:
    """A whole number, not below 0."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 31:
        raise ValueError(f"{value!r} is not a whole number from 0 on")
    return value


def permissions(value: object) -> int:
    """Permission bits, as TOML's ``0o660`` or the text ``"660"``."""
    try:
        bits = int(value, 8) if isinstance(value, str) else value
    except ValueError:
        bits = None
    if not isinstance(bits, int) or isinstance(bits, bool) or not 0 <= bits <= 0o777:
        raise ValueError(f"{value!r} is not a mode such as 0o660")
    return bits


def one_of(*choices: str) -> Callable[[object], str]:
    """One of some words."""

    def decode(value: object) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is none of {', '.join(choices)}")
        return str(value)

    return decode
