"""Send one command that is not data down one underpath, within a bound.

What a unit attention says must not be lost: reported once, it is gone from the array, and 2A/03 and 2A/05 are the only
notice of having been preempted, as 3F/0E may be of another disk.  So every attention met on the way goes to
``on_attention``, with its verdict, before the command is sent again.  And an answer that nobody saw may have been one:
its underpath is suspected, and is asked for its identity before it is told or asked anything more.
"""

from collections.abc import Awaitable, Callable

import trio

from mpio_fuse.device.reaction import reaction_to
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.errors import TransportError, TransportGone
from mpio_fuse.scsi.command import Command, Completion, HostStatus
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.scsi.sense import SenseKey
from mpio_fuse.scsi.verdict import Verdict, describe, is_answer_lost, judge, sense_of

OnAttention = Callable[[Underpath, Verdict, str], None]
"""Told of a unit attention, or of a deferred error: where, what it means, and its text."""

Verify = Callable[[Underpath], Awaitable[bool]]
"""Asked whether the underpath still leads to our disk, before a command goes to whatever is there now."""

ATTEMPTS = 8
"""How often a command is sent while the target says only "again": a nexus can have several unit attentions queued."""

BACK_OFF_S = 0.02
"""The first wait after BUSY or TASK SET FULL; doubled each time."""


async def issue(
    underpath: Underpath,
    command: Command,
    timeout_s: float,
    on_attention: OnAttention,
    verify: Verify | None = None,
) -> Completion:
    """The command's completion, after unit attentions and short congestion.

    Where another disk may be, and after an attention that tells of one, or may, the command is sent only if ``verify``
    agrees; else it is NO_CONNECT.

    Never raises for what the underpath does: a vanished node is NO_CONNECT, and silence beyond ``timeout_s`` is
    TIME_OUT, whose effect at the target is unknown.
    """
    if verify and underpath.is_doubtful and not await verify(underpath):
        return Completion(host_status=HostStatus.NO_CONNECT)
    completion = Completion(host_status=HostStatus.TIME_OUT)
    with trio.move_on_after(timeout_s):
        for attempt in range(ATTEMPTS):
            completion = Completion(host_status=HostStatus.TIME_OUT)
            completion = await _once(underpath, command)
            verdict = judge(completion)
            sense = sense_of(completion)
            is_attention = sense is not None and sense.key is SenseKey.UNIT_ATTENTION
            if is_attention or verdict is Verdict.DEFERRED_ERROR:
                underpath.want(reaction_to(completion).look)
                on_attention(underpath, verdict, describe(completion))
                if verdict is Verdict.RECHECK_IDENTITY and verify and not await verify(underpath):
                    return Completion(host_status=HostStatus.NO_CONNECT)
            elif verdict is Verdict.RETRY_HERE:
                await trio.sleep(BACK_OFF_S * 2**attempt)
            else:
                break
    return completion


async def _once(underpath: Underpath, command: Command) -> Completion:
    is_lost = True
    try:
        completion = await underpath.transport.execute(command)
        is_sent = completion.host_status != HostStatus.NO_CONNECT
        is_lost = is_sent and is_answer_lost(completion)
    except TransportGone as gone:
        underpath.removed(gone.what)
        return Completion(host_status=HostStatus.NO_CONNECT)
    except TransportError:
        is_lost = False  # nothing was sent
        return Completion(host_status=HostStatus.NO_CONNECT)
    finally:
        if is_lost and command.cdb[0] != OpCode.INQUIRY:  # which tells of no attention: SPC-4 5.14
            underpath.lost_answer()
    return completion
