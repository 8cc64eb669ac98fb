"""What the array itself says about its registrations, as sg_persist (package sg3-utils) prints it."""

import re
from collections.abc import Iterator

from attrs import frozen

TYPE_OF_THE_STORY = "Exclusive Access, registrants only"
# Lines of sg_persist's that say the same for every registration here.
UNTOLD = ("LIO-ORG", "All target ports bit", "Transport Id of initiator", "Peripheral device type")


@frozen
class Registration:
    """One nexus that is registered; ``reservation_type`` is None unless it holds the reservation."""

    key: int
    target_port: int
    initiator: str
    reservation_type: str | None


def _field(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"sg_persist says nothing that matches {pattern!r} in:\n{text}")
    return found[1]


def _registrations(text: str) -> Iterator[Registration]:
    for part in re.split(r"^ *(?=Key=)", text, flags=re.MULTILINE)[1:]:
        holds = "<< Reservation holder >>" in part
        yield Registration(
            key=int(_field(r"Key=(0x[0-9a-f]+)", part), 16),
            target_port=int(_field(r"Relative port address: (0x[0-9a-f]+)", part), 16),
            initiator=_field(r"port id: (\S+)", part),
            reservation_type=_field(r"type: (.+)", part).strip() if holds else None,
        )


def parse_full_status(text: str) -> list[Registration]:
    """Decode the output of ``sg_persist --in --read-full-status``.

    Raises:
        ValueError: it is something else, or lacks a part.
    """
    _field(r"PR generation=(0x[0-9a-f]+)", text)
    return list(_registrations(text))


def told_lines(lines: list[str]) -> list[str]:
    """Leave out of sg_persist's output what the story does not need."""
    return [line for line in lines if not any(untold in line for untold in UNTOLD)]
