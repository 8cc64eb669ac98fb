"""Runs in the guest: open-iscsi, with one initiator name for each host."""

import subprocess
from pathlib import Path

from tests.lab import sysfs
from tests.lab.fabric import Fabric, FabricKind, Node

PORT = 3260
CONFIGURATION = Path("/etc/iscsi")
# Failures are noticed in seconds instead of minutes; recovery gives up on a session after replacement_timeout.
# Without iscsid.startup: we start iscsid ourselves, there is no systemd.
SETTINGS = {
    "node.startup": "manual",
    "node.session.timeo.replacement_timeout": 5,
    "node.conn[0].timeo.login_timeout": 3,
    "node.conn[0].timeo.logout_timeout": 3,
    "node.conn[0].timeo.noop_out_interval": 1,
    "node.conn[0].timeo.noop_out_timeout": 2,
    "node.session.err_timeo.abort_timeout": 3,
    "node.session.err_timeo.lu_reset_timeout": 5,
    "node.session.initial_login_retry_max": 2,
    "node.session.cmds_max": 128,
    "node.session.queue_depth": 32,
    "node.session.iscsi.InitialR2T": "No",
    "node.session.iscsi.ImmediateData": "Yes",
    "node.session.xmit_thread_priority": 0,
}


def initiator_name(host: str) -> str:
    """Give the iSCSI name of host ``host``."""
    return f"iqn.2000-01.example.mpio-fuse:host-{host}"


def portal_address(underpath: int) -> str:
    """Give the address of the target on network ``underpath``."""
    return f"127.0.0.{underpath + 1}"


def _configure(fabric: Fabric) -> None:
    # A file system of its own: the machine's files may be readable by root alone.
    subprocess.run(["mount", "-t", "tmpfs", "lab", str(CONFIGURATION)], check=True)
    settings = "".join(f"{name} = {value}\n" for name, value in SETTINGS.items())
    (CONFIGURATION / "iscsid.conf").write_text(settings)
    (CONFIGURATION / "initiatorname.iscsi").write_text(f"InitiatorName={initiator_name('none')}\n")
    interfaces = CONFIGURATION / "ifaces"
    interfaces.mkdir()
    for host in fabric.host_names:
        (interfaces / host).write_text(
            f"iface.iscsi_ifacename = {host}\niface.transport_name = tcp\n"
            f"iface.initiatorname = {initiator_name(host)}\n"
        )


def _iscsiadm(mode: str, *arguments: str) -> None:
    subprocess.run(["iscsiadm", "-m", mode, *arguments], check=True, stdout=subprocess.DEVNULL)


def log_in(fabric: Fabric) -> list[Node]:
    """Log every host in to the target over every network, and give the nodes that come of it."""
    _configure(fabric)
    interfaces = [word for host in fabric.host_names for word in ("-I", host)]
    subprocess.run(["iscsid"], check=True)
    # LIO names all its portals, tgtd only the one that was asked.
    for underpath in range(fabric.underpaths if fabric.kind is FabricKind.TGT else 1):
        _iscsiadm("discovery", "-t", "sendtargets", "-p", portal_address(underpath), *interfaces)
    _iscsiadm("node", "--loginall=all")
    count = fabric.hosts * fabric.underpaths * len(fabric.luns)
    return [node_of(disk) for disk in sysfs.wait_for_disks(count)]


def node_of(disk: sysfs.Disk) -> Node:
    """Give the node of a disk behind iSCSI: whose it is and over which network, by its session."""
    number = disk.ancestor_number("session")
    session = Path(f"/sys/class/iscsi_session/session{number}")
    connection = Path(f"/sys/class/iscsi_connection/connection{number}:0")
    initiator = (session / "initiatorname").read_text().strip()
    address = (connection / "persistent_address").read_text().strip()
    return Node(
        host=initiator.rsplit("-", 1)[1],
        underpath=int(address.rsplit(".", 1)[1]) - 1,
        lun=disk.lun,
        sg=disk.sg,
        block=disk.block,
        hctl=disk.hctl,
        transport="iscsi",
        initiator=initiator,
        portal=f"{address}:{PORT}",
    )
