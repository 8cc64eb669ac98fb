"""The host's reservation key."""

import hmac
from pathlib import Path

import pytest

from mpio_fuse.device import key
from mpio_fuse.errors import MpioError, UsageError
from mpio_fuse.scsi.reservation_key import ReservationKey

MACHINE_ID = "0123456789abcdef0123456789abcdef"


def test_it_is_the_same_for_ever() -> None:
    """A change would make every host a stranger to its own reservations: never adapt this number."""
    assert str(key.host_key(MACHINE_ID + "\n")) == "0xf61ff06b08171ec1"


def test_every_host_has_its_own() -> None:
    keys = {key.host_key(f"{number:032x}") for number in range(1, 1000)}
    assert len(keys) == 999


def test_the_machine_id_does_not_show() -> None:
    shown = str(key.host_key(MACHINE_ID)).removeprefix("0x")
    assert not any(shown[at : at + 4] in MACHINE_ID for at in range(len(shown) - 3))


def test_never_key_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hmac, "digest", lambda *_: bytes(8) + bytes([7] * 24))
    assert key.host_key(MACHINE_ID) == ReservationKey(bytes([7] * 8))


@pytest.mark.parametrize(
    "text", ["", "uninitialized\n", "0" * 32, MACHINE_ID[:-1], MACHINE_ID + "0", "g" * 32]
)
def test_no_machine_id(text: str) -> None:
    with pytest.raises(MpioError, match="give this host's key with --key"):
        key.host_key(text)


def test_read(tmp_path: Path) -> None:
    file = tmp_path / "machine-id"
    with pytest.raises(MpioError, match=r"machine-id cannot be read \(No such file.*--key"):
        key.read_host_key(file)
    file.write_text("uninitialized\n")
    with pytest.raises(MpioError, match=r"machine-id: the machine-id is not.*--key"):
        key.read_host_key(file)
    file.write_bytes(b"\xff" * 32)
    with pytest.raises(MpioError, match="--key"):
        key.read_host_key(file)
    file.write_text(MACHINE_ID + "\n")
    assert key.read_host_key(file) == key.host_key(MACHINE_ID)


@pytest.mark.parametrize(
    ("text", "number"), [("0x123abc", 0x123ABC), ("123abc", 0x123ABC), ("1", 1)]
)
def test_parse(text: str, number: int) -> None:
    assert int(key.parse_key(text)) == number


@pytest.mark.parametrize("text", ["0", "0x0", "", "0x", "12g", "0x1" + "0" * 16, "-1", "1 2"])
def test_not_a_key(text: str) -> None:
    with pytest.raises(UsageError):
        key.parse_key(text)
