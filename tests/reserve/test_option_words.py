"""Open options in words."""

from functools import reduce
from itertools import permutations
from operator import or_

import pytest

from mpio_fuse.errors import UsageError
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.reserve.option_words import WORDS, UnknownOption, parse_options, spell_options


def test_every_option_has_a_word() -> None:
    assert sorted(option.value for option in WORDS.values()) == [one.value for one in OpenOption]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_words_combine_in_any_order(count: int) -> None:
    for words in permutations(["retain", "single", "forced"], count):
        options = reduce(or_, (WORDS[word] for word in words))
        assert parse_options("+".join(words)) == options
        assert parse_options(spell_options(options)) == options


def test_no_option_has_a_word_too() -> None:
    assert parse_options("default") is OpenOption.DEFAULT
    assert spell_options(OpenOption.DEFAULT) == "default"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "there is no open option ''"),
        ("retian", "'retian'; the options are no-reserve, retain, single, forced"),
        ("retain+", "there is no open option ''"),
        ("Retain", "there is no open option 'Retain'"),
        ("retain+default", "there is no open option 'default'"),
        ("retain+forced+retain", "'retain' is there twice"),
    ],
)
def test_what_is_no_option_is_said(text: str, error: str) -> None:
    with pytest.raises(UnknownOption) as refused:
        parse_options(text)
    assert error in str(refused.value)


@pytest.mark.parametrize("other", ["retain", "single", "forced"])
def test_a_contradiction_is_another_error_than_an_unknown_word(other: str) -> None:
    with pytest.raises(UsageError, match="goes with no other option") as refused:
        parse_options(f"{other}+no-reserve")
    assert not isinstance(refused.value, UnknownOption)
