"""What an open of a single path would do: SCSI-2 reservations cannot be read, so each box is told as going well."""

from collections.abc import Iterator

from mpio_fuse.reserve.explain_words import Explanation, Sent, Step
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.reserve.procedure import Act, Box, Outcome, Procedure
from mpio_fuse.reserve.single_path import decide_single
from mpio_fuse.reserve.situation import Situation
from mpio_fuse.scsi.opcodes import OpCode, TaskManagement

_COMMANDS: dict[Act, tuple[OpCode | TaskManagement, str]] = {
    Act.RESET: (
        TaskManagement.LOGICAL_UNIT_RESET,
        "LOGICAL UNIT RESET: frees the reservation, ends every host's commands",
    ),
    Act.RESERVE_6: (OpCode.RESERVE_6, "RESERVE(6)"),
    Act.RELEASE_6: (OpCode.RELEASE_6, "RELEASE(6)"),
    Act.TEST_UNIT_READY: (OpCode.TEST_UNIT_READY, "TEST UNIT READY"),
}


def explain_single(options: OpenOption, now: Situation) -> Explanation:
    """Tell what the open would send, if nobody stands in its way."""
    carrier = now.holder_name or next(
        (one.name for one in now.underpaths if one.is_registered), "the first that answers"
    )
    if now.is_reserving:
        command = Sent(carrier, OpCode.RESERVE_6, "RESERVE(6)", "from its holder: GOOD")
        steps = [Step("reserve", Act.RESERVE_6.value, (command,), Outcome.GOOD)]
    else:
        steps = list(_steps(decide_single(options)(), carrier))
    return Explanation(
        options=options,
        figure="single path: SCSI-2, no figure of the patent",
        steps=tuple(steps),
        notes=(
            "whether another host has it reserved can only be found by trying: then the open ends in EIO or EBUSY",
            f"one underpath carries everything: {carrier}; when it fails, so does the file",
        ),
    )


def _steps(procedure: Procedure, carrier: str) -> Iterator[Step]:
    here: Box = next(procedure)
    try:
        while True:
            action, words = _COMMANDS[here.act]
            sent = Sent(carrier, action, words)
            yield Step(here.label, here.act.value, (sent,), Outcome.GOOD)
            here = procedure.send(Outcome.GOOD)
    except StopIteration:
        return
