"""One daemon for one LUN under one key."""

import os
import subprocess
import sys

import pytest

from mpio_fuse.device.claim import DeviceInUse
from mpio_fuse.device.key_claim import KeyClaim
from mpio_fuse.scsi.reservation_key import ReservationKey

OURS, THEIRS = ReservationKey.from_int(0xA1), ReservationKey.from_int(0xB1)
WWID = f"naa.test-{os.getpid()}"
PROGRAM = """
import sys
from mpio_fuse.device.key_claim import KeyClaim
from mpio_fuse.scsi.reservation_key import ReservationKey
KeyClaim.take("lun", sys.argv[1], ReservationKey.from_int(0xA1))
print("taken")
"""


def test_a_second_claim_of_the_same_key_is_refused_until_the_first_is_given_up() -> None:
    claim = KeyClaim.take("database", WWID, OURS)
    with pytest.raises(DeviceInUse, match="database: another mpio-fuse of this host serves it"):
        KeyClaim.take("database", WWID, OURS)
    claim.close()
    KeyClaim.take("database", WWID, OURS).close()


def test_another_key_or_another_lun_is_another_claim() -> None:
    claims = [KeyClaim.take("lun", WWID, OURS), KeyClaim.take("lun", WWID, THEIRS)]
    claims.append(KeyClaim.take("lun", f"{WWID}1", OURS))
    for claim in claims:
        claim.close()


def test_a_process_that_has_ended_has_none() -> None:
    for _ in range(2):
        words = [sys.executable, "-c", PROGRAM, WWID]
        assert subprocess.run(words, capture_output=True, check=True).stdout == b"taken\n"
