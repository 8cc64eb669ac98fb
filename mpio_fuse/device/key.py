"""The reservation key of this host: the same on every underpath, different on every host.

Unless the administrator gives one, it is derived from /etc/machine-id in the way machine-id(5) asks of
applications: a keyed hash of a constant of ours, so that the machine-id itself, which is confidential, is never sent
to an array or printed.
"""

import hashlib
import hmac
import re
from pathlib import Path

from mpio_fuse.errors import MpioError
from mpio_fuse.scsi.reservation_key import KEY_LENGTH_BYTES, ReservationKey

MACHINE_ID_FILE = Path("/etc/machine-id")

_APPLICATION = bytes.fromhex("5d0c1b2f6e934f06a3f2b1c84c7ad9e1")
"""Ours alone and never changed: a change would make every host a stranger to its own reservations."""

_GIVE_KEY = "give this host's key with --key"


def host_key(machine_id_text: str) -> ReservationKey:
    """The key of the host with that machine-id (the text of /etc/machine-id); never key 0.

    Raises:
        MpioError: it is no machine-id: not 32 hexadecimal digits, or not initialised yet.
    """
    digits = machine_id_text.strip()
    if not re.fullmatch("[0-9a-fA-F]{32}", digits, re.ASCII) or not digits.strip("0"):
        raise MpioError(
            "the machine-id is not 32 hexadecimal digits, or not initialised", hint=_GIVE_KEY
        )
    digest = hmac.digest(bytes.fromhex(digits), _APPLICATION, hashlib.sha256)
    starts = range(0, len(digest), KEY_LENGTH_BYTES)
    candidates = (ReservationKey(digest[start : start + KEY_LENGTH_BYTES]) for start in starts)
    return next(key for key in candidates if not key.is_zero)


def read_host_key(file: Path = MACHINE_ID_FILE) -> ReservationKey:
    """Derive the key of this host.

    Raises:
        MpioError: there is no machine-id here.
    """
    try:
        text = file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        what = f"no reservation key for this host: {file} cannot be read ({error.strerror})"
        raise MpioError(what, hint=_GIVE_KEY) from error
    try:
        return host_key(text)
    except MpioError as error:
        raise MpioError(f"{file}: {error.what}", hint=error.hint) from error


def parse_key(text: str) -> ReservationKey:
    """The key an administrator gives in hexadecimal, with or without ``0x``.

    Raises:
        UsageError: not a key, or key 0, which means "no registration".
    """
    return ReservationKey.parse_host(text)
