"""Text that is safe on a terminal, whatever a user or a target put into it."""


def printable(text: str) -> str:
    """The text with ``?`` for every character that is not printable: one line, and no escape sequence."""
    return "".join(character if character.isprintable() else "?" for character in text)
