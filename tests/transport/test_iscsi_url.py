"""URLs, names and credentials of the iscsi transport: what is taken apart, and what must not be seen."""

import os
from pathlib import Path

import pytest

from mpio_fuse.errors import MpioError, UsageError
from mpio_fuse.transport.iscsi import Credentials, IscsiSettings
from mpio_fuse.transport.iscsi.initiator import claim_isid, initiator_name
from mpio_fuse.transport.iscsi.settings import STOWED_VARIABLE, recalled, resolved, stow
from mpio_fuse.transport.iscsi.url import IscsiUrl, parse_url

IQN = "iqn.2026-01.test:disks"
MACHINE_ID = "0123456789abcdef0123456789abcdef\n"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (f"iscsi://host/{IQN}/1", IscsiUrl("host", 3260, IQN, 1)),
        (f"iscsi://Host:99/{IQN.upper()}/0", IscsiUrl("host", 99, IQN, 0)),
        ("iscsi://10.0.0.1", IscsiUrl("10.0.0.1")),
        ("iscsi://10.0.0.1:99/", IscsiUrl("10.0.0.1", 99)),
        (f"iscsi://[fe80::1%eth0]:99/{IQN}/7", IscsiUrl("fe80::1%eth0", 99, IQN, 7)),
        ("iscsi://h/iqn.2026-01.test%3Adisks/1", IscsiUrl("h", 3260, IQN, 1)),
        (f"iscsi://h/{IQN}/16383", IscsiUrl("h", 3260, IQN, 16383)),
        (
            f"iscsi://bob%a%b@c@h/{IQN}/1",
            IscsiUrl("h", 3260, IQN, 1, Credentials("bob", "a%b@c")),
        ),
        (
            f"iscsi://bob%x@h/{IQN}/1?target_user=t&target_password=y=z&header_digest=crc32c",
            IscsiUrl("h", 3260, IQN, 1, Credentials("bob", "x", "t", "y=z"), header_digest=True),
        ),
        (f"iscsi://h/{IQN}/1?header_digest=none", IscsiUrl("h", 3260, IQN, 1, header_digest=False)),
    ],
)
def test_a_url_is_taken_apart(text: str, url: IscsiUrl) -> None:
    assert parse_url(text) == url


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("iscsi:/h", "not an iscsi:// URL"),
        ("iscsi://", "no host"),
        (f"iscsi:///{IQN}/1", "no host"),
        (f"iscsi://bob%x@/{IQN}/1", "no host"),
        ("iscsi://h:0", "no such port"),
        ("iscsi://h:65536", "no such port"),
        ("iscsi://h:x", "no host"),
        (f"iscsi://h/{IQN}", "no target and LUN"),
        (f"iscsi://h/{IQN}/x", "no target and LUN"),
        (f"iscsi://h/{IQN}/-1", "no target and LUN"),
        (f"iscsi://h/{IQN}/16384", "no target and LUN"),
        (f"iscsi://h/{IQN}/1/2", "no target and LUN"),
        ("iscsi://h/disks/1", "not an iSCSI name"),
        ("iscsi://h/iqn.a%0ab/1", "not an iSCSI name"),
        (f"iscsi://h/{IQN}/1?x=1", "unknown option"),
        (f"iscsi://h/{IQN}/1?header_digest=maybe", "none or crc32c"),
        (f"iscsi://h/{IQN}/1?data_digest=crc32c", "no data digests"),
        (f"iscsi://bob@h/{IQN}/1", "a user and a password"),
        (f"iscsi://%x@h/{IQN}/1", "a user and a password"),
        (f"iscsi://bob%x@h/{IQN}/1?target_user=t", "a target_user and a target_password"),
        (f"iscsi://h/{IQN}/1?target_user=t&target_password=y", "this host's user"),
        (f"iscsi://bob%{'x' * 256}@h/{IQN}/1", "255 bytes"),
    ],
)
def test_a_bad_url_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_url(text)


@pytest.mark.parametrize(
    "text",
    [
        f"iscsi://bob%hunter2@h/{IQN}/1",
        f"iscsi://bob%hunter2@h/{IQN}/1?target_user=t&target_password=hunter2",
    ],
)
def test_nothing_secret_is_shown(text: str) -> None:
    url = parse_url(text)
    assert url.name == f"iscsi://h/{IQN}/1"
    for shown in (repr(url), str(url), repr(IscsiSettings(credentials=url.credentials))):
        assert "hunter2" not in shown


@pytest.mark.parametrize(
    "text", [f"iscsi://bob%hunter2@h/{IQN}", "iscsi://bob%hunter2@h:x", "iscsi://bob%hunter2@h/?x"]
)
def test_an_error_shows_nothing_secret(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_url(text)
    assert "hunter2" not in str(raised.value)


@pytest.fixture
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("LIBISCSI_", "MPIO_FUSE_I")):
            monkeypatch.delenv(name)
    monkeypatch.setenv(STOWED_VARIABLE, "{}")


@pytest.mark.usefixtures("empty_environment")
class TestWhereCredentialsComeFrom:
    def test_what_is_stowed_is_recalled(self) -> None:
        text = f"iscsi://bob%x@h/{IQN}/1?target_user=t&target_password=y&header_digest=none"
        name = stow(text)
        assert name == f"iscsi://h/{IQN}/1"
        assert recalled(name) == parse_url(text)

    def test_what_is_no_url_stays(self) -> None:
        assert stow("/dev/sg3") == "/dev/sg3"

    def test_each_name_has_its_own(self) -> None:
        for lun, user in ((1, "alice"), (2, "bob")):
            stow(f"iscsi://{user}%x@h/{IQN}/{lun}")
        assert recalled(f"iscsi://h/{IQN}/1").credentials == Credentials("alice", "x")
        assert recalled(f"iscsi://h/{IQN}/2").credentials == Credentials("bob", "x")
        assert not recalled(f"iscsi://h/{IQN}/3").credentials

    def test_the_url_comes_before_the_settings_and_they_before_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url, settings = (
            parse_url(f"iscsi://h/{IQN}/1"),
            IscsiSettings(credentials=Credentials("b", "x")),
        )
        assert resolved(url, IscsiSettings()).credentials == Credentials()
        monkeypatch.setenv("LIBISCSI_CHAP_USERNAME", "c")
        monkeypatch.setenv("LIBISCSI_CHAP_PASSWORD", "x")
        assert resolved(url, IscsiSettings()).credentials == Credentials("c", "x")
        assert resolved(url, settings).credentials == Credentials("b", "x")
        named = parse_url(f"iscsi://a%x@h/{IQN}/1")
        assert resolved(named, settings).credentials == Credentials("a", "x")

    def test_half_of_a_pair_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LIBISCSI_CHAP_USERNAME", "c")
        with pytest.raises(UsageError, match="a user and a password"):
            resolved(parse_url("iscsi://h"), IscsiSettings())

    def test_digests_of_the_url_come_before_those_of_the_settings(self) -> None:
        wanted = IscsiSettings(header_digest=True)
        assert resolved(parse_url("iscsi://h"), wanted).header_digest is True
        assert resolved(parse_url("iscsi://h/?header_digest=none"), wanted).header_digest is False

    def test_the_initiator_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        open_iscsi, machine_id = tmp_path / "initiatorname.iscsi", tmp_path / "machine-id"
        machine_id.write_text(MACHINE_ID)
        derived = initiator_name(None, open_iscsi, machine_id)
        assert derived == initiator_name(None, open_iscsi, machine_id)
        assert derived.startswith("iqn.2026-01.invalid.mpio-fuse:")
        assert MACHINE_ID[:8] not in derived
        open_iscsi.write_text("## comment\nInitiatorName=iqn.1993-08.org.debian:01:AB\n")
        assert initiator_name(None, open_iscsi, machine_id) == "iqn.1993-08.org.debian:01:ab"
        monkeypatch.setenv("MPIO_FUSE_INITIATOR_NAME", "iqn.2026-01.test:env")
        assert initiator_name(None, open_iscsi, machine_id) == "iqn.2026-01.test:env"
        assert initiator_name("iqn.2026-01.test:given", open_iscsi) == "iqn.2026-01.test:given"

    def test_no_initiator_name(self, tmp_path: Path) -> None:
        machine_id = tmp_path / "machine-id"
        with pytest.raises(MpioError, match="cannot be read"):
            initiator_name(None, tmp_path / "none", machine_id)
        machine_id.write_text("uninitialized\n")
        with pytest.raises(MpioError, match="has no machine-id"):
            initiator_name(None, tmp_path / "none", machine_id)
        with pytest.raises(UsageError, match="not an iSCSI name"):
            initiator_name("host-a", tmp_path / "none", machine_id)


@pytest.mark.parametrize("name", ["iqn.2026-01.test:isid", "iqn.2026-01.test:" + "x" * 200])
def test_an_isid_is_the_same_again_and_another_while_it_is_used(name: str) -> None:
    first = claim_isid(name, "iscsi://a")
    second = claim_isid(name, "iscsi://a")
    elsewhere = claim_isid(name, "iscsi://b")
    other_host = claim_isid(name[:-1] + "y", "iscsi://a")
    assert len({first.numbers, second.numbers, elsewhere.numbers}) == 3
    assert other_host.numbers == first.numbers, "hosts do not know each other"
    first.release()
    again = claim_isid(name, "iscsi://a")
    assert again.numbers == first.numbers
    for isid in (second, elsewhere, other_host, again):
        isid.release()
