"""Columns of text without lines, for terminals and for awk."""

from collections.abc import Container, Iterable, Sequence

from rich.cells import cell_len
from rich.text import Text

from mpio_fuse.cli.printable import printable

GAP = "  "


def columns(
    titles: Sequence[str], rows: Iterable[Sequence[str]], right: Container[str] = ()
) -> Text:
    """A line of titles and one for each row; no line ends in blanks, whatever its last cells are.

    The columns titled in ``right`` are aligned there.
    """
    lines = [[printable(cell) for cell in cells] for cells in (titles, *rows)]
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    aligned = [title in right for title in titles]
    texts = (
        GAP.join(map(_padded, cells, widths, aligned)).rstrip()  # no blank behind the last cell
        for cells in lines
    )
    heading, *others = texts
    return Text("\n").join([Text(heading, style="bold"), *map(Text, others)])


def _padded(cell: str, width: int, is_right: bool) -> str:  # noqa: FBT001 - mapped over
    blanks = " " * (width - cell_len(cell))
    return blanks + cell if is_right else cell + blanks
