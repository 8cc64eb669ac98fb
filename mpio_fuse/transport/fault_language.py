"""The language of faults: one line each, ``UNDERPATH: ACTION [KEY=VALUE]...``.

docs/faults.md is its manual.  Everything is a table here: an action has its argument and the keys that go with it, a
key its parser.  A fault comes from a command line, a file or a socket, so what is wrong in it is said with the
column where it is, and nothing is guessed.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import attrs

from mpio_fuse.errors import UsageError
from mpio_fuse.scsi.command import Completion
from mpio_fuse.transport.fault_spec import Action, Direction, FaultSpec, Match
from mpio_fuse.transport.fault_words import nearest, parse_commands, parse_outcome

MAXIMUM_LENGTH = 500
"""Of one fault, in characters; one request to a daemon must hold it."""

MAXIMUM_DURATION_S = 86400.0
MAXIMUM_COUNT = 1_000_000_000
MANUAL = "docs/faults.md has the words"


def parse_fault(text: str, source: str | None = None) -> FaultSpec:
    """One line of the language.  ``source`` is what errors call it: by default the text itself.

    Raises:
        UsageError: what is wrong, and at which column.
    """
    if len(text) > MAXIMUM_LENGTH:
        what = f"{source or 'fault'}: {len(text)} characters, more than {MAXIMUM_LENGTH}"
        raise UsageError(what, hint="make several faults of it")
    return _Parser(text, source or f"fault {text!r}").parse()


def parse_script(text: str, name: str) -> list[FaultSpec]:
    """One fault a line; empty lines and those that start with ``#`` are for people.

    Raises:
        UsageError: what is wrong, and at which line and column.
    """
    lines = enumerate(text.splitlines(), start=1)
    return [
        parse_fault(line, f"{name}:{number}")
        for number, line in lines
        if line.strip() and not line.lstrip().startswith("#")
    ]


@attrs.frozen
class _Word:
    text: str
    column: int


@attrs.define
class _Parser:
    """One line being read.  ``fields`` are what `FaultSpec` is made with."""

    text: str
    source: str
    fields: dict[str, Any] = attrs.Factory(dict)
    columns: dict[str, int] = attrs.Factory(dict)

    def parse(self) -> FaultSpec:
        for column, character in enumerate(self.text, start=1):
            if not character.isprintable() and character != "\t":
                self._fail(column, f"{character!r} cannot be in a fault")
        underpath, rest_at = self._underpath()
        words = self._words(rest_at)
        first = next(words, None)
        if first is None:
            self._fail(len(self.text) + 1, f"no action after the underpath; one of {_ACTION_LIST}")
        action = self._action(first)
        self._argument(action, first, words)
        self._keys(action, words)
        self._window()
        match = Match(*(self.fields.pop(one.name, None) for one in attrs.fields(Match)))
        text = " ".join(self.text[rest_at:].split())
        return FaultSpec(underpath=underpath, text=text, action=action, match=match, **self.fields)

    def _underpath(self) -> tuple[str, int]:
        """The name ends at the first colon that a blank follows: a URL has others."""
        found = re.match(r"\s*(\S.*?)\s*:(?:\s|$)", self.text)
        if found is None:
            self._fail(1, "not of the form 'UNDERPATH: ACTION [KEY=VALUE]...'")
        return found[1], found.end()

    def _words(self, start: int) -> Iterator[_Word]:
        for found in re.compile(r"\S+").finditer(self.text, start):
            yield _Word(found[0], found.start() + 1)

    def _action(self, word: _Word) -> Action:
        try:
            return Action(word.text)
        except ValueError:
            near = nearest(word.text, _ACTION_WORDS)
            what = f"{word.text!r} is no action{near or f'; one of {_ACTION_LIST}'}"
            self._fail(word.column, what)

    def _argument(self, action: Action, word: _Word, words: Iterator[_Word]) -> None:
        """What some actions need right after their name."""
        if action not in _ARGUMENTS:
            return
        name, what, parse = _ARGUMENTS[action]
        argument = next(words, None)
        if argument is None:
            self._fail(word.column + len(word.text), f"{action.value} needs {what} after it")
        self.fields[name] = self._value(argument.column, parse, argument.text)

    def _keys(self, action: Action, words: Iterator[_Word]) -> None:
        allowed = {**_COMMON_KEYS, **_ACTION_KEYS.get(action, {})}
        for word in words:
            key, separator, value = word.text.partition("=")
            if key not in allowed:
                near = nearest(key, allowed) or f"; one of {', '.join(sorted(allowed))}"
                self._fail(word.column, f"{action.value} has no key {key!r}{near}")
            if not separator or not value:
                self._fail(word.column, f"{key} needs a value: {key}=...")
            name, parse = allowed[key]
            if name in self.fields:
                self._fail(word.column, f"{key} is there twice")
            self.fields[name] = self._value(word.column + len(key) + 1, parse, value)
            self.columns[name] = word.column

    def _window(self) -> None:
        until_s = self.fields.get("until_s")
        if until_s is not None and until_s <= self.fields.get("from_s", 0.0):
            self._fail(self.columns["until_s"], "it would be over before it begins")

    def _value(self, column: int, parse: Callable[[str], object], text: str) -> object:
        try:
            return parse(text)
        except ValueError as error:
            self._fail(column, str(error))

    def _fail(self, column: int, what: str) -> NoReturn:
        raise UsageError(f"{self.source}, column {column}: {what}", hint=MANUAL) from None


_UNITS_S = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}


def _duration_s(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|min|h)", text)
    if found is None:
        raise ValueError(f"{text!r} is no duration such as 250ms, 1.5s, 2min or 1h")
    duration_s = float(found[1]) * _UNITS_S[found[2]]
    if duration_s > MAXIMUM_DURATION_S:
        raise ValueError(f"{text} is more than a day")
    return duration_s


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > MAXIMUM_COUNT:
        raise ValueError(f"{text!r} is no whole number up to {MAXIMUM_COUNT}")
    return int(text)


def _count(text: str) -> int:
    if not (count := _number(text)):
        raise ValueError("a fault that strikes 0 times is none")
    return count


def _probability(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(%?)", text)
    probability = float(found[1]) / (100 if found[2] else 1) if found else 0.0
    if not 0 < probability <= 1:
        raise ValueError(f"{text!r} is no probability such as 0.25 or 25%")
    return probability


def _lba(text: str) -> range:
    found = re.fullmatch(r"([0-9]{1,20})(?:-([0-9]{1,20}))?", text)
    if found is None:
        raise ValueError(f"{text!r} is no block, and no blocks FIRST-LAST")
    first = int(found[1])
    last = first if found[2] is None else int(found[2])
    if last < first or last >= 1 << 64:
        raise ValueError(f"{text!r} ends before it begins, or beyond 64 bits")
    return range(first, last + 1)


def _direction(text: str) -> Direction:
    try:
        return Direction(text)
    except ValueError:
        raise ValueError(f"{text!r} is no direction: in, out or none") from None


def _told(text: str) -> Completion | None:
    return None if text == "never" else parse_outcome(text)


def _is_answer(text: str) -> bool:
    if text not in {"command", "answer"}:
        raise ValueError(f"{text!r} is neither command nor answer")
    return text == "answer"


_Key = tuple[str, Callable[[str], object]]
"""The field of `FaultSpec` or `Match` that it fills, and how."""

_COMMON_KEYS: Mapping[str, _Key] = {
    "on": ("on", parse_commands),
    "lba": ("lba", _lba),
    "direction": ("direction", _direction),
    "count": ("count", _count),
    "after": ("after", _number),
    "probability": ("probability", _probability),
    "seed": ("seed", _number),
    "from": ("from_s", _duration_s),
    "until": ("until_s", _duration_s),
}
_AT: Mapping[str, _Key] = {"at": ("at_s", _duration_s)}
_TOLD: Mapping[str, _Key] = {"told": ("told", _told), **_AT}
_ACTION_KEYS: Mapping[Action, Mapping[str, _Key]] = {
    Action.ERROR: _AT,
    Action.DELAY: {"of": ("is_answer_delayed", _is_answer)},
    Action.DROP: _TOLD,
    Action.LOSE_ANSWER: _TOLD,
}
_ARGUMENTS: Mapping[Action, tuple[str, str, Callable[[str], object]]] = {
    Action.ERROR: ("told", "a SAM status, a host status or sense", parse_outcome),
    Action.DELAY: ("delay_s", "a duration", _duration_s),
}
_ACTION_WORDS = [action.value for action in Action]
_ACTION_LIST = ", ".join(_ACTION_WORDS)
