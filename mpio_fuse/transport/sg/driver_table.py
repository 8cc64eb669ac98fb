"""The sg driver's own table of what it has under way, ``/proc/scsi/sg/debug``: exact, but long and not in every kernel.

It names every open file of every node, and those closed ones that still have commands:

     >>> device=sg0 0:0:0:1   em=0 sg_tablesize=2048 excl=0 open_cnt=0
       FD(1): timeout=60000ms bufflen=524288 (res)sgat=16 low_dma=0
       cmd_q=1 f_packid=0 k_orphan=0 closed=0
         rb>> act: id=0 blen=512 t_o/elap=30000/160ms sgat=1 op=0x2a

``act:`` is a command that has not ended, ``rcv:`` and ``fin:`` are answers.
"""

from pathlib import Path

TABLE = Path("/proc/scsi/sg/debug")


def active_commands(name: str, table: Path = TABLE) -> int | None:
    """How many commands of anybody the driver has under way for the node ``name`` (``sg3``); None when it is not told.

    Whoever asks has the node open: where it is not in the table, the table is none.
    """
    try:
        lines = table.read_text("ascii", errors="replace").splitlines()
    except OSError:
        return None
    active: int | None = None
    is_here = False
    for words in map(str.split, lines):
        if words[:1] == [">>>"]:
            is_here = words[1:2] == [f"device={name}"]
            active = 0 if is_here else active
        elif is_here and active is not None:
            active += "act:" in words
    return active
