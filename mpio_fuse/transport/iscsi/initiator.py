"""Who we are to a target: the initiator name, and an ISID for each session (RFC 7143 4.2.7, 10.1.1).

Both together are the initiator port, one half of the I_T nexus that registrations belong to.  So they must come out
the same in every run, and a session made anew must be the old nexus: the ISID is a hash of what the session leads to.

A second session with the same ISID would end the first one at once (session reinstatement), and ``mpio-fuse discover``
beside a daemon would take the daemon's registrations away.  Hence an ISID in use is *claimed* with a socket in the
kernel's abstract namespace, which goes when its process does; whoever finds it claimed takes the next one.
"""

import hashlib
import hmac
import os
import re
import socket
from pathlib import Path

import attrs

from mpio_fuse.errors import MpioError, UsageError
from mpio_fuse.transport.iscsi.url import check_iscsi_name

NAME_VARIABLE = "MPIO_FUSE_INITIATOR_NAME"
OPEN_ISCSI_FILE = Path("/etc/iscsi/initiatorname.iscsi")
MACHINE_ID_FILE = Path("/etc/machine-id")
INSTANCES = 256

_APPLICATION = bytes.fromhex("b2f3a8d1c7404d4f9a60c4d86a1ef2f7")
"""Ours alone and never changed: a change would make every host a stranger to its targets' access lists."""

_GIVE_NAME = f"give one with {NAME_VARIABLE} or in the configuration's [iscsi] table"


@attrs.define
class Isid:
    """An ISID of the "random" form, 24 and 16 bits, with the socket that keeps others from it."""

    random: int
    qualifier: int
    _claim: socket.socket = attrs.field(repr=False, eq=False)

    @property
    def numbers(self) -> tuple[int, int]:
        return self.random, self.qualifier

    def __str__(self) -> str:
        return f"80{self.random:06x}{self.qualifier:04x}"

    def release(self) -> None:
        """Let another process have it."""
        self._claim.close()


def initiator_name(
    given: str | None = None,
    open_iscsi_file: Path = OPEN_ISCSI_FILE,
    machine_id_file: Path = MACHINE_ID_FILE,
) -> str:
    """The name given, or the environment's, or open-iscsi's, or one derived from the machine-id.

    Raises:
        UsageError: the name given is no iSCSI name.
        MpioError: there is no machine-id to derive one from.
    """
    name = given or os.environ.get(NAME_VARIABLE) or _open_iscsi_name(open_iscsi_file)
    return check_iscsi_name(name) if name else _derived_name(machine_id_file)


def _open_iscsi_name(file: Path) -> str | None:
    """What open-iscsi calls this host; its file is for root alone."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    names = [line.partition("=")[2].strip() for line in lines if line.startswith("InitiatorName=")]
    return names[-1] if names else None


def _derived_name(file: Path) -> str:
    try:
        digits = file.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        what = f"no initiator name for this host: {file} cannot be read ({error.strerror})"
        raise MpioError(what, hint=_GIVE_NAME) from error
    if not re.fullmatch("[0-9a-fA-F]{32}", digits, re.ASCII):
        raise MpioError(
            f"no initiator name for this host: {file} has no machine-id", hint=_GIVE_NAME
        )
    digest = hmac.digest(bytes.fromhex(digits), _APPLICATION, hashlib.sha256)
    return f"iqn.2026-01.invalid.mpio-fuse:{digest[:8].hex()}"


def claim_isid(name: str, leads_to: str) -> Isid:
    """The ISID of this initiator for a session that leads there: the first that no living process has.

    Raises:
        UsageError: so many sessions to one logical unit can only be a mistake.
    """
    random = int.from_bytes(hashlib.sha256(leads_to.encode()).digest()[:3], "big")
    for qualifier in range(INSTANCES):
        claim = _claimed(f"\0mpio-fuse/iscsi/{name}/{random:06x}{qualifier:04x}")
        if claim is not None:
            return Isid(random, qualifier, claim)
    raise UsageError(f"{INSTANCES} sessions to it are open on this host", underpath=leads_to)


def _claimed(address: str) -> socket.socket | None:
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        claim.bind(_short(address))
    except OSError:
        claim.close()
        return None
    return claim


def _short(address: str) -> str:
    """An address of a socket has 107 characters, an iSCSI name up to 223."""
    if len(address) <= 100:
        return address
    return "\0mpio-fuse/iscsi/" + hashlib.sha256(address.encode()).hexdigest()
