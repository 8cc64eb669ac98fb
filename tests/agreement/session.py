"""Runs in the guest: a session ends and another begins, as an administrator does it with open-iscsi."""

import subprocess
import time
from pathlib import Path

import attrs

from tests.agreement.end import LUN, End, iscsi_port
from tests.lab.fabric import TARGET_NAME, Node

LIMIT_S = 30.0
POLL_S = 0.01
AUTOPROBE = Path("/sys/bus/scsi/drivers_autoprobe")


def log_in_again(end: End) -> End:
    """The end after a logout and a login.

    The kernel's disk driver is kept off the new disk: what it asks would take the unit attentions that we want to see.
    """
    AUTOPROBE.write_text("0")
    for word in ("--logout", "--login"):
        _iscsiadm(end.node, word)
    number, sg = _wait_for_node(end.node)
    port = iscsi_port(end.node, number)
    return attrs.evolve(end, sg=sg, transport_id=port, session=end.session + 1)


def _iscsiadm(node: Node, word: str) -> None:
    where = ["-T", TARGET_NAME, "-p", node.portal, "-I", node.host]
    subprocess.run(["iscsiadm", "-m", "node", *where, word], check=True, capture_output=True)


def _wait_for_node(node: Node) -> tuple[int, str]:
    """The number of the session between that initiator and that portal, and its sg node."""
    deadline_s = time.monotonic() + LIMIT_S
    while (found := _find(node)) is None:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"no sg node of {node.initiator} through {node.portal}")
        time.sleep(POLL_S)
    return found


def _find(node: Node) -> tuple[int, str] | None:
    for session in Path("/sys/class/iscsi_session").glob("session*"):
        number = int(session.name.removeprefix("session"))
        connection = Path(f"/sys/class/iscsi_connection/connection{number}:0")
        address = (connection / "persistent_address").read_text().strip()
        if (session / "initiatorname").read_text().strip() != node.initiator:
            continue
        if address == node.portal.rsplit(":", 1)[0]:
            nodes = (session / "device").glob(f"target*/*:{LUN}/scsi_generic/sg*")
            return next(((number, f"/dev/{sg.name}") for sg in nodes), None)
    return None
