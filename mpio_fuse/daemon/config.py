"""The configuration file: TOML, every key optional, every unknown key an error.

docs/config.md has all keys with their meanings and defaults, and an example.
"""

import grp
import os
import pwd
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Literal

import attrs

from mpio_fuse.daemon import config_iscsi
from mpio_fuse.daemon.config_section import (
    Section,
    one_of,
    permissions,
    seconds,
    text,
    texts,
    truth,
)
from mpio_fuse.daemon.config_underpaths import take_underpath_rules
from mpio_fuse.device.underpath_rules import UnderpathRules
from mpio_fuse.errors import MpioError, UsageError
from mpio_fuse.fs.attributes import Ownership
from mpio_fuse.fs.flags import FLAG_OPTIONS, MAPPABLE_FLAGS
from mpio_fuse.fs.namespace import is_file_name
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.reserve.option_words import parse_options
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.wwid_name import wwid_name
from mpio_fuse.transport.iscsi import IscsiSettings

DEFAULT_FILE = Path("/etc/mpio-fuse.toml")
DEFAULT_GROUP = "disk"

Standby = Literal["registered", "unregistered"]


def default_ownership() -> Ownership:
    """``root:disk``, as the kernel's own disks; for an unprivileged daemon, its own user and group."""
    if os.geteuid() != 0:
        return Ownership(uid=os.geteuid(), gid=os.getegid())
    try:
        gid = grp.getgrnam(DEFAULT_GROUP).gr_gid
    except KeyError:
        return Ownership()
    # The kernel opens no file for writing whose owner a user namespace does not have, not even for its root.
    return Ownership(gid=gid) if _is_mapped(gid) else Ownership()


def _is_mapped(gid: int) -> bool:
    """Whether the user namespace of this process knows the group (user_namespaces(7))."""
    try:
        lines = Path("/proc/self/gid_map").read_text(encoding="ascii").splitlines()
    except OSError:
        return True
    ranges = [tuple(map(int, line.split())) for line in lines]
    return any(first <= gid < first + count for first, _, count in ranges)


@attrs.frozen
class Timeouts:
    """In seconds; docs/config.md says of what."""

    io_s: float = 30.0
    control_s: float = 10.0
    check_s: float = 5.0
    stop_s: float = 30.0


@attrs.frozen
class LogConfig:
    """``file`` is None for a file beside the control socket."""

    level: str = "info"
    format: str = "text"
    file: Path | None = None


@attrs.frozen
class LunConfig:
    """What is configured for one LUN.  ``open`` applies to opens that name no option.  ``underpaths`` None: as for all.

    ``single_path``: SCSI-2 reservations over one underpath, though the array has persistent ones.
    """

    alias: str | None = None
    open: OpenOption = OpenOption.DEFAULT
    single_path: bool = False
    underpaths: UnderpathRules | None = None


@attrs.frozen
class Config:
    """A configuration, complete: what the file leaves out has its default.  ``luns`` and ``bypass`` are by WWID."""

    key: ReservationKey | None = None
    ownership: Ownership = attrs.Factory(default_ownership)
    allow_other: bool = attrs.Factory(lambda: os.geteuid() == 0)
    force_group: int | None = None
    standby: Standby = "registered"
    serialise_registers: bool = False
    aptpl: bool = False
    bypass: frozenset[str] = frozenset()
    timeouts: Timeouts = Timeouts()
    log: LogConfig = LogConfig()
    iscsi: IscsiSettings = config_iscsi.DEFAULT
    underpaths: UnderpathRules = attrs.Factory(UnderpathRules)
    open_flags: Mapping[int, OpenOption] = FLAG_OPTIONS
    luns: Mapping[str, LunConfig] = attrs.Factory(dict)

    def lun(self, wwid: str) -> LunConfig:
        """What is configured for one LUN."""
        return self.luns.get(wwid, LunConfig())

    def underpath_rules(self, wwid: str) -> UnderpathRules:
        """How the underpaths of one LUN are to be treated."""
        return self.lun(wwid).underpaths or self.underpaths

    def about_none_of(self, wwids: Collection[str]) -> list[str]:
        """A line of text for each LUN that is configured, and none of these."""
        what = "no LUN that was found here has that WWID, so this applies to nothing"
        tables = [f'[luns."{one}"]: {what}' for one in self.luns if one not in wwids]
        return tables + [f"bypass: {one}: {what}" for one in sorted(self.bypass - {*wwids})]


_STANDBY = one_of("registered", "unregistered")


def load(file: Path | None) -> Config:
    """Read a configuration file; the default one, which may be absent, when None is given.

    Raises:
        UsageError: it is missing though named, or does not say what it should, and where.
        MpioError: it cannot be read.
    """
    path = file or DEFAULT_FILE
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if file is None:
            return Config()
        raise UsageError(f"{path}: no such configuration file") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: a directory, not a configuration file") from None
    except OSError as error:
        raise MpioError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from None
    return _decode(Section(str(path), table))


def _decode(section: Section) -> Config:
    default = Config()
    underpaths = _underpaths(section.section("underpaths"))
    config = Config(
        key=section.take("key", lambda value: ReservationKey.parse_host(text(value)), None),
        ownership=_ownership(section, default.ownership),
        allow_other=section.take("allow_other", truth, default.allow_other),
        force_group=section.take("forced_open_group", _gid, None),
        standby=section.take("standby", _standby, default.standby),
        serialise_registers=section.take("serialise_registers", truth, default.serialise_registers),
        aptpl=section.take("aptpl", truth, default.aptpl),
        bypass=section.take("bypass", _wwids, default.bypass),
        timeouts=_timeouts(section.section("timeouts")),
        log=_log(section.section("log")),
        iscsi=config_iscsi.iscsi_settings(section.section("iscsi")),
        open_flags=_open_flags(section.section("open_flags")),
        underpaths=underpaths,
        luns=_luns(section, underpaths),
    )
    section.finish()
    return config


def _ownership(section: Section, default: Ownership) -> Ownership:
    return Ownership(
        mode=section.take("mode", permissions, default.mode),
        uid=section.take("user", _uid, default.uid),
        gid=section.take("group", _gid, default.gid),
    )


def _timeouts(section: Section) -> Timeouts:
    default = Timeouts()
    timeouts = Timeouts(
        io_s=section.take("io", seconds, default.io_s),
        control_s=section.take("control", seconds, default.control_s),
        check_s=section.take("check", seconds, default.check_s),
        stop_s=section.take("stop", seconds, default.stop_s),
    )
    section.finish()
    return timeouts


def _underpaths(section: Section) -> UnderpathRules:
    rules = take_underpath_rules(section, UnderpathRules())
    section.finish()
    return rules


def _log(section: Section) -> LogConfig:
    default = LogConfig()
    levels = one_of("debug", "info", "warning", "error")
    log = LogConfig(
        level=section.take("level", levels, default.level),
        format=section.take("format", one_of("text", "json"), default.format),
        file=section.take("file", lambda value: Path(text(value)), None),
    )
    section.finish()
    return log


def _luns(section: Section, for_all: UnderpathRules) -> dict[str, LunConfig]:
    luns: dict[str, LunConfig] = {}
    owners: dict[str, str] = {}
    for text_of_wwid, lun in section.sections("luns").items():
        wwid = _wwid_of_table(text_of_wwid, lun)
        if wwid in luns:
            raise UsageError(f"{lun.where}: this LUN has a table already, as {wwid}")
        alias = lun.take("alias", _alias, None)
        options = lun.take("open", _options, OpenOption.DEFAULT)
        single_path = lun.take("single_path", truth, default=False)
        own = take_underpath_rules(lun, for_all)
        rules = own if own != for_all else None
        lun.finish()
        if alias is not None and owners.setdefault(alias, wwid) != wwid:
            raise UsageError(f"{lun.where}: alias: {alias!r} is the alias of {owners[alias]} too")
        luns[wwid] = LunConfig(alias=alias, open=options, single_path=single_path, underpaths=rules)
    return luns


def _wwid_of_table(text_of_wwid: str, section: Section) -> str:
    try:
        return wwid_name(text_of_wwid)
    except ValueError as error:
        raise UsageError(f"{section.where}: {error}") from None


def _wwids(value: object) -> frozenset[str]:
    return frozenset(map(wwid_name, texts(value)))


def _open_flags(section: Section) -> dict[int, OpenOption]:
    """The table of flags with what the file changes in it."""
    table = dict(FLAG_OPTIONS)
    for name, flag in MAPPABLE_FLAGS.items():
        table[flag] = section.take(name, _options, table.get(flag, OpenOption.DEFAULT))
    section.finish()
    return {flag: options for flag, options in table.items() if options}


def _options(value: object) -> OpenOption:
    return parse_options(text(value))


def _standby(value: object) -> Standby:
    return "registered" if _STANDBY(value) == "registered" else "unregistered"


def _alias(value: object) -> str:
    alias = text(value)
    if not is_file_name(alias):
        raise ValueError(f"{alias!r} is not a plain file name")
    return alias


def _uid(value: object) -> int:
    return _number(value, "user", lambda name: pwd.getpwnam(name).pw_uid)


def _gid(value: object) -> int:
    return _number(value, "group", lambda name: grp.getgrnam(name).gr_gid)


def _number(value: object, kind: str, find: Callable[[str], int]) -> int:
    """A user's or group's number, given as such or by name."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32:
        return value
    try:
        return find(text(value))
    except KeyError:
        raise ValueError(f"this host has no {kind} {value!r}") from None
