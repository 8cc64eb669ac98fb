"""Open options in words: ``forced+retain`` in a directory's name, the configuration, a command, or openx's ``ext``."""

from collections.abc import Mapping
from types import MappingProxyType

from mpio_fuse.errors import UsageError
from mpio_fuse.reserve.fig07_decision import OpenOption, check_options

WORDS: Mapping[str, OpenOption] = MappingProxyType(
    {
        "no-reserve": OpenOption.NO_RESERVE,
        "retain": OpenOption.RETAIN_RESERVATION,
        "single": OpenOption.SINGLE,
        "forced": OpenOption.FORCED_OPEN,
    }
)
"""One word for each option, in the order they are shown."""

DEFAULT_WORD = "default"
"""Says that no option is set."""


class UnknownOption(UsageError):
    """A word that is no option's."""


def parse_options(text: str) -> OpenOption:
    """Options joined by ``+``, in any order, each once; ``default`` alone for none.

    Raises:
        UnknownOption: a word is unknown, repeated or empty.
        UsageError: the options contradict each other.
    """
    if text == DEFAULT_WORD:
        return OpenOption.DEFAULT
    options = OpenOption.DEFAULT
    for word in text.split("+"):
        option = WORDS.get(word)
        if option is None:
            hint = f"the options are {', '.join(WORDS)}, joined by '+', or {DEFAULT_WORD} alone"
            raise UnknownOption(f"{text!r}: there is no open option {word!r}", hint=hint)
        if option in options:
            raise UnknownOption(f"{text!r}: {word!r} is there twice", hint="drop one of them")
        options |= option
    check_options(options)
    return options


def spell_options(options: OpenOption) -> str:
    """The words of some options, as `parse_options` takes them."""
    return "+".join(word for word, option in WORDS.items() if option in options) or DEFAULT_WORD
