"""TEST UNIT READY (SPC-4 6.47): the cheapest question; a pending unit attention answers it."""

from mpio_fuse.scsi.command import Command
from mpio_fuse.scsi.opcodes import OpCode


def test_unit_ready(*, timeout_s: float = 30.0) -> Command:
    """TEST UNIT READY, which carries no data."""
    return Command(
        "TEST UNIT READY", bytes((OpCode.TEST_UNIT_READY,)) + bytes(5), timeout_s=timeout_s
    )


# Told to pytest, which would otherwise collect the name wherever it is imported.
test_unit_ready.__test__ = False  # type: ignore[attr-defined]
