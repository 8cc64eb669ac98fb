"""The access matrix: type x registered x command, as one table and one helper.

Each row is a command and twelve letters, two for each type: what a registrant that made no reservation gets, and what
a nexus that is not registered gets.  ``C`` is RESERVATION CONFLICT and ``.`` anything else.  Transcribed from SPC-4
tables 66 and 67 and SBC-3 table 13; the differences of LIO and tgt are those of the records in ``measured``.
"""

import pytest

from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import LIO, SPC, TGT, Quirks
from tests.target.replay import encode, is_conflict

HOLDER, OTHER = Nexus("iqn.host-a", 1), Nexus("iqn.host-b", 1)

#            1  3  5  6  7  8
ANYBODY = "............"
READING = "..CC...C...C"
WRITING = "CCCC.C.C.C.C"
REGISTERED = ".C.C.C.C.C.C"
HOLDING = "CCCCCCCC.C.C"

SPC_TABLE = {
    "tur": ANYBODY,
    "inq": ANYBODY,
    "vpd": ANYBODY,
    "reqsense": ANYBODY,
    "rluns": ANYBODY,
    "rtpg": ANYBODY,
    "rcap": ANYBODY,
    "rcap16": ANYBODY,
    "prin 0": ANYBODY,
    "prin 1": ANYBODY,
    "prin 2": ANYBODY,
    "prin 3": ANYBODY,
    "read": READING,
    "read16": READING,
    "verify": READING,
    "write": WRITING,
    "write16": WRITING,
    "sync": WRITING,
    "sync16": WRITING,
    "wsame": WRITING,
    "prout 0 0 KEY 0xb2": ANYBODY,
    "prout 6 0 0 0xb2": ANYBODY,
    "prout 1 TYPE KEY": HOLDING,
    "prout 2 TYPE KEY": REGISTERED,
    "prout 3 0 KEY": REGISTERED,
    "prout 4 TYPE KEY 0xa1": REGISTERED,
    "prout 5 TYPE KEY 0xa1": REGISTERED,
}
WITHOUT_DATA_ON_LIO = "C.CC...C...C"
LIO_TABLE = {
    **SPC_TABLE,
    "rcap": READING,
    "rcap16": READING,
    "verify": WITHOUT_DATA_ON_LIO,
    "sync": WITHOUT_DATA_ON_LIO,
    "sync16": WITHOUT_DATA_ON_LIO,
}
TGT_TABLE = {
    **SPC_TABLE,
    "wsame": ANYBODY,
    "prout 5 TYPE KEY 0xa1": ANYBODY,  # INVALID FIELD IN CDB
}


def verdicts(quirks: Quirks, command: str) -> str:
    """The row of the table, as the model makes it."""
    return "".join(
        "C" if conflicts(quirks, command, pr_type, registered=registered) else "."
        for pr_type in PrType
        for registered in (True, False)
    )


def conflicts(quirks: Quirks, command: str, pr_type: PrType, *, registered: bool) -> bool:
    model = LogicalUnitModel(quirks)
    for nexus in (HOLDER, OTHER):
        while not send(model, nexus, "tur"):
            pass
    assert send(model, HOLDER, "prout 0 0 0 0xa1")
    assert send(model, OTHER, "prout 0 0 0 0xb1") or not registered
    if not registered:
        assert send(model, OTHER, "prout 0 0 0xb1 0")
    assert send(model, HOLDER, f"prout 1 {pr_type:d} 0xa1")
    words = command.replace("TYPE", f"{pr_type:d}").replace("KEY", "0xb1" if registered else "0")
    return is_conflict(model.execute(OTHER, *encode(words)))


def send(model: LogicalUnitModel, nexus: Nexus, words: str) -> bool:
    return model.execute(nexus, *encode(words)).is_good


@pytest.mark.parametrize(
    ("quirks", "table"),
    [(SPC, SPC_TABLE), (LIO, LIO_TABLE), (TGT, TGT_TABLE)],
    ids=["SPC", "LIO", "tgt"],
)
def test_who_may_do_what(quirks: Quirks, table: dict[str, str]) -> None:
    assert {command: verdicts(quirks, command) for command in table} == table


@pytest.mark.parametrize("pr_type", PrType)
@pytest.mark.parametrize("command", [row for row in SPC_TABLE if not row.startswith("prout")])
def test_the_holder_may_do_everything(command: str, pr_type: PrType) -> None:
    model = LogicalUnitModel(SPC)
    assert send(model, HOLDER, "prout 0 0 0 0xa1")
    assert send(model, HOLDER, f"prout 1 {pr_type:d} 0xa1")
    assert send(model, HOLDER, command)
