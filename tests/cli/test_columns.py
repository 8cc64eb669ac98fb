"""Columns: aligned, and without blanks at the end of a line."""

from rich.console import Console

from mpio_fuse.cli.columns import columns


def _lines(*rows: tuple[str, ...]) -> list[str]:
    console = Console(width=1000, highlight=False)
    with console.capture() as captured:
        console.print(columns(("name", "size", "note"), rows, right={"size"}))
    return captured.get().splitlines()


def test_columns_are_aligned_and_no_line_ends_in_blanks() -> None:
    assert _lines(("a", "1", ""), ("long one", "12345", "x")) == [
        "name       size  note",
        "a             1",
        "long one  12345  x",
    ]


def test_titles_without_rows() -> None:
    assert _lines() == ["name  size  note"]


def test_wide_characters_take_two_columns() -> None:
    assert _lines(("磁碟", "1", "x"), ("disk", "1", "x"))[1:] == [
        "磁碟     1  x",
        "disk     1  x",
    ]


def test_a_cell_cannot_move_the_cursor() -> None:
    assert _lines(("a\nb\x1b[2J", "1", ""))[1:] == ["a?b?[2J     1"]
