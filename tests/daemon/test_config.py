"""The configuration file."""

import os
import tomllib
from pathlib import Path

import attrs
import pytest

from mpio_fuse.daemon import config
from mpio_fuse.daemon.config import Config, LogConfig, LunConfig, Timeouts, load
from mpio_fuse.device.condition.rules import HealthRules, MarginalRule
from mpio_fuse.device.selection.rules import Failback, SelectionRules, SelectorName
from mpio_fuse.device.underpath_rules import CheckerName, UnderpathRules
from mpio_fuse.errors import MpioError, UsageError
from mpio_fuse.fs.attributes import Ownership
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.transport.iscsi import Credentials, IscsiSettings

FULL = """
key = "0x123abc"
mode = "640"
user = 7
group = "root"
allow_other = false
forced_open_group = 12
standby = "unregistered"
bypass = ["naa.5000000000000009"]

[timeouts]
io = 5
control = 2.5
check = 3
stop = 1

[underpaths]
selector = "queue-length"
failback = "manual"
checker = "read"
check_min = 1
check_max = 8.5
hold_down = 0
marginal_failures = 5
marginal_window = 60
marginal_rest = 90
no_path_timeout = 0
no_path_requests = 7

[iscsi]
initiator_name = "iqn.2026-01.test:a"
user = "u"
password = "p"
target_user = "t"
target_password = "q"
header_digest = "crc32c"
login_timeout = 1
link_timeout = 2
ping_after = 3
ping_timeout = 4
reconnect = 6

[log]
level = "debug"
format = "json"
file = "/var/log/x"

[open_flags]
O_NOATIME = "default"
O_SYNC = "single+forced"

[luns."naa.5000000000000001"]
alias = "database"
open = "retain+forced"
selector = "service-time"
failback = 30
no_path_timeout = 120

[luns."naa.5000000000000002"]
"""

RULES = UnderpathRules(
    CheckerName.READ,
    HealthRules(1, 8.5, 0, MarginalRule(5, 60, 90)),
    SelectionRules(SelectorName.QUEUE_LENGTH, Failback(None)),
    no_path_timeout_s=0,
    no_path_requests=7,
)
"""Of `FULL`."""


def _written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "mpio-fuse.toml"
    file.write_text(text)
    return file


def test_every_key_is_read(tmp_path: Path) -> None:
    assert load(_written(tmp_path, FULL)) == Config(
        key=ReservationKey.parse("123abc"),
        ownership=Ownership(mode=0o640, uid=7, gid=0),
        allow_other=False,
        force_group=12,
        standby="unregistered",
        bypass=frozenset({"naa.5000000000000009"}),
        timeouts=Timeouts(5, 2.5, 3, 1),
        log=LogConfig("debug", "json", Path("/var/log/x")),
        iscsi=IscsiSettings(
            "iqn.2026-01.test:a",
            Credentials("u", "p", "t", "q"),
            header_digest=True,
            login_timeout_s=1,
            link_timeout_s=2,
            ping_after_s=3,
            ping_timeout_s=4,
            reconnect_s=6,
        ),
        underpaths=RULES,
        open_flags={
            os.O_NONBLOCK: OpenOption.NO_RESERVE,
            os.O_NOFOLLOW: OpenOption.SINGLE,
            os.O_ASYNC: OpenOption.FORCED_OPEN,
            os.O_SYNC: OpenOption.SINGLE | OpenOption.FORCED_OPEN,
        },
        luns={
            "naa.5000000000000001": LunConfig(
                "database",
                OpenOption.RETAIN_RESERVATION | OpenOption.FORCED_OPEN,
                underpaths=attrs.evolve(
                    RULES,
                    selection=SelectionRules(SelectorName.SERVICE_TIME, Failback(30)),
                    no_path_timeout_s=120,
                ),
            ),
            "naa.5000000000000002": LunConfig(),
        },
    )


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    assert load(_written(tmp_path, "")) == Config()


def _example() -> str:
    manual = (Path(__file__).parents[2] / "docs" / "config.md").read_text()
    return manual.partition("```toml\n")[2].partition("```")[0]


def _names(text: str) -> dict[str, set[str]]:
    """The keys of each table but `[open_flags]`, which has a key for every flag; any LUN's as one table."""
    top = tomllib.loads(text)
    luns: dict[str, dict[str, object]] = top.pop("luns")
    del top["open_flags"]
    tables = {name: set(table) for name, table in top.items() if isinstance(table, dict)}
    return {**tables, "": set(top), "luns": {key for lun in luns.values() for key in lun}}


def test_the_example_in_the_manual_is_valid(tmp_path: Path) -> None:
    groups_everybody_has = _example().replace("operators", "root").replace('"disk"', '"root"')
    assert load(_written(tmp_path, groups_everybody_has)).bypass


def test_the_example_in_the_manual_has_every_key() -> None:
    assert _names(_example()) == _names(FULL)


def test_the_manual_explains_every_key() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "config.md").read_text()
    names = {name for table in _names(FULL).values() for name in table} - {
        "timeouts",
        "iscsi",
        "log",
        "underpaths",
    }
    assert [name for name in sorted(names) if f"| `{name}` |" not in manual] == []


def test_the_default_file_may_be_missing_but_not_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "nothing.toml"
    monkeypatch.setattr(config, "DEFAULT_FILE", missing)
    assert load(None) == Config()
    with pytest.raises(UsageError, match=r"nothing\.toml: no such configuration file"):
        load(missing)
    with pytest.raises(UsageError, match="a directory, not a configuration file"):
        load(tmp_path)


def test_files_belong_to_root_and_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert Config().ownership.mode == 0o660
    assert (Config().ownership.uid, Config().allow_other) == (0, True)


def test_of_an_unprivileged_daemon_they_belong_to_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1001)
    assert Config().ownership == Ownership(uid=1000, gid=1001)
    assert Config().allow_other is False


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("keys = 1", r"toml: unknown key 'keys'; known keys: allow_other, "),
        (
            "[timeouts]\nread = 1",
            r"toml \[timeouts\]: unknown key 'read'; known keys: check, control, io",
        ),
        (
            '[luns."naa.5000000000000001"]\nname = "x"',
            r"toml \[luns\] \[naa\.5000000000000001\]: unknown key 'name'",
        ),
        ('key = "0"', "key: key 0 cannot be registered"),
        ("key = 12", "key: 12 is not a text"),
        ("mode = 0o1777", "mode: 1023 is not a mode such as 0o660"),
        ('mode = "rw"', "mode: 'rw' is not a mode"),
        ('group = "no-such-group"', "group: this host has no group 'no-such-group'"),
        ("user = -1", "user: -1 is not a text"),
        ("allow_other = 1", "allow_other: 1 is neither true nor false"),
        ('standby = "maybe"', "standby: 'maybe' is none of registered, unregistered"),
        ('bypass = "naa.5000000000000001"', "bypass: 'naa.5000000000000001' is not a list"),
        ("timeouts = 1", "timeouts: 1 is not a table"),
        ("[timeouts]\nio = 0", r"\[timeouts\]: io: 0 is not a number of seconds"),
        ("[timeouts]\nio = nan", r"\[timeouts\]: io: nan is not a number of seconds"),
        ('[log]\nlevel = "loud"', r"\[log\]: level: 'loud' is none of debug"),
        ('[luns."naa.5000000000000001"]\nalias = "a/b"', "alias: 'a/b' is not a plain file name"),
        (
            '[luns."naa.5000000000000001"]\nalias = ".ext"',
            r"alias: '\.ext' is not a plain file name",
        ),
        (
            '[luns."naa.5000000000000001"]\nopen = "retian"',
            r"toml \[luns\] \[naa\.5000000000000001\]: open: 'retian': there is no open option 'retian'; the opt",
        ),
        (
            '[luns."naa.5000000000000001"]\nopen = "retain+no-reserve"',
            r"\[naa\.5000000000000001\]: open: NO_RESERVE\+RETAIN_RESERVATION: NO_RESERVE goes with no other",
        ),
        (
            '[luns."naa.TYPO"]\nopen = "retain"',
            r"toml \[luns\] \[naa\.TYPO\]: 'naa\.TYPO' has not the digits of one: no LUN has that WWID",
        ),
        (
            '[luns."naa.500000000000000A"]\n[luns."NAA.500000000000000a"]',
            r"\[NAA\.500000000000000a\]: this LUN has a table already, as naa\.500000000000000a",
        ),
        ('bypass = ["database"]', "bypass: 'database' does not begin with naa., eui. or t10.: no"),
        (
            '[luns."naa.5000000000000001"]\nopen = 1',
            r"\[naa\.5000000000000001\]: open: 1 is not a text",
        ),
        (
            '[open_flags]\nO_APPEND = "single"',
            r"toml \[open_flags\]: unknown key 'O_APPEND'; known keys: O_ASYNC, O_DIRECT, O_DSYNC,",
        ),
        ('[open_flags]\nO_EXCL = "single"', r"\[open_flags\]: unknown key 'O_EXCL'"),
        (
            '[open_flags]\nO_ASYNC = "force"',
            r"\[open_flags\]: O_ASYNC: 'force': there is no open option 'force'",
        ),
        ("[open_flags]\nO_ASYNC = []", r"\[open_flags\]: O_ASYNC: \[\] is not a text"),
        (
            '[underpaths]\nselector = "fastest"',
            r"\[underpaths\]: selector: 'fastest' is none of round",
        ),
        ('[underpaths]\nchecker = "ping"', "checker: 'ping' is none of tur, read"),
        ("[underpaths]\ncheck_min = 0", "check_min: 0 is not a number of seconds above 0"),
        (
            "[underpaths]\ncheck_min = 5\ncheck_max = 3",
            r"toml \[underpaths\]: check_max: 3 is less than check_min, 5",
        ),
        ("[underpaths]\nhold_down = -1", "hold_down: -1 is not a number of seconds$"),
        ("[underpaths]\nhold_down = false", "hold_down: False is not a number of seconds$"),
        ("[underpaths]\nmarginal_failures = 1.5", "failures: 1.5 is not a whole number from 0 on"),
        ("[underpaths]\nmarginal_failures = true", "True is not a whole number from 0 on"),
        ("[underpaths]\nno_path_requests = -1", "requests: -1 is not a whole number from 0 on"),
        (
            '[underpaths]\nfailback = "later"',
            "failback: 'later' is neither immediate nor manual nor a number of seconds above 0",
        ),
        ("[underpaths]\nfailback = 0", "failback: 0 is neither immediate nor manual"),
        ("[underpaths]\nhold = 1", r"\[underpaths\]: unknown key 'hold'; known keys: check_max, "),
        (
            '[luns."naa.5000000000000001"]\ncheck_max = 1',
            r"01\]: check_max: 1 is less than check_min, 5",
        ),
        ("key =", "not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(UsageError, match=error) as refused:
        load(_written(tmp_path, text))
    assert str(refused.value).startswith(str(tmp_path))


def test_case_does_not_matter_in_a_wwid(tmp_path: Path) -> None:
    text = 'bypass = ["NAA.500000000000000B"]\n[luns."naa.500000000000000A"]\nsingle_path = true\n'
    read = load(_written(tmp_path, text))
    assert read.lun("naa.500000000000000a").single_path
    assert read.bypass == {"naa.500000000000000b"}


def test_two_luns_cannot_share_an_alias(tmp_path: Path) -> None:
    text = (
        '[luns."naa.5000000000000001"]\nalias = "x"\n[luns."naa.5000000000000002"]\nalias = "x"\n'
    )
    with pytest.raises(
        UsageError, match=r"naa\.5000000000000002.*'x' is the alias of naa\.5000000000000001 too"
    ):
        load(_written(tmp_path, text))


def test_no_underpath_is_marginal_when_none_is_to_be(tmp_path: Path) -> None:
    never = "[underpaths]\nmarginal_failures = 0\nmarginal_window = 7\n"
    again = never + '[luns."naa.5000000000000001"]\nmarginal_failures = 4\n'
    loaded = load(_written(tmp_path, again))
    assert loaded.underpath_rules("naa.5000000000000002").health.marginal is None
    marginal = loaded.underpath_rules("naa.5000000000000001").health.marginal
    assert marginal is not None
    assert marginal.failures == 4


def test_rare_checks_need_one_key(tmp_path: Path) -> None:
    health = load(_written(tmp_path, "[underpaths]\ncheck_min = 60\n")).underpaths.health
    assert (health.check_min_s, health.check_max_s) == (60, 60)


def test_a_lun_has_the_rules_for_all_but_for_its_own(tmp_path: Path) -> None:
    loaded = load(_written(tmp_path, FULL))
    for wwid in ("naa.5000000000000002", "naa.elsewhere"):
        assert loaded.underpath_rules(wwid) == RULES
    assert loaded.underpath_rules("naa.5000000000000001").no_path_timeout_s == 120
    assert loaded.underpath_rules("naa.5000000000000001").health == RULES.health


def test_a_file_that_cannot_be_read_is_no_usage_error(tmp_path: Path) -> None:
    with pytest.raises(MpioError, match="cannot be read: File name too long"):
        load(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('initiator_name = "host-a"', "initiator_name: .*not an iSCSI name"),
        ('user = "u"', "a user and a password"),
        ('user = "u"\npassword = 1234567', "password: not a text"),
        ('header_digest = "yes"', "header_digest: "),
        ("link_timeout = 0", "link_timeout: "),
        ('data_digest = "crc32c"', "unknown key 'data_digest'"),
    ],
)
def test_a_bad_iscsi_table(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        load(_written(tmp_path, f"[iscsi]\n{table}\n"))
    assert "1234567" not in str(raised.value)
