"""The file in which LIO keeps registrations, as it wants it back."""

from tests.reliability.restart import registrations_in

FILE = """\
PR_REG_START: 0
target_fabric=iSCSI
initiator_node=iqn.2000-01.example:a
sa_res_key=10
res_holder=1
PR_REG_END: 0
PR_REG_START: 1
target_fabric=iSCSI
sa_res_key=11
res_holder=0
PR_REG_END: 1
"""


def test_one_text_a_registration() -> None:
    assert registrations_in(FILE) == [
        "target_fabric=iSCSI,initiator_node=iqn.2000-01.example:a,sa_res_key=10,res_holder=1\n",
        "target_fabric=iSCSI,sa_res_key=11,res_holder=0\n",
    ]


def test_none() -> None:
    assert registrations_in("No Registrations or Reservations") == []
