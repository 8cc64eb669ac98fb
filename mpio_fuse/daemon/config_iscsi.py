"""The configuration's ``[iscsi]`` table."""

import attrs

from mpio_fuse.daemon.config_section import Section, one_of, seconds, text
from mpio_fuse.errors import UsageError
from mpio_fuse.transport.iscsi import Credentials, IscsiSettings
from mpio_fuse.transport.iscsi.url import check_iscsi_name

DEFAULT = IscsiSettings()

_TIMES = ("login_timeout", "link_timeout", "ping_after", "ping_timeout", "reconnect")
_DIGEST = one_of("none", "crc32c")


def iscsi_settings(section: Section) -> IscsiSettings:
    """What the table says.  Its errors show no password.

    Raises:
        UsageError: it does not say what it should.
    """
    times = {f"{key}_s": section.take(key, seconds, getattr(DEFAULT, f"{key}_s")) for key in _TIMES}
    settings = attrs.evolve(
        DEFAULT,
        initiator_name=section.take("initiator_name", _name, None),
        credentials=_credentials(section),
        header_digest=section.take("header_digest", _DIGEST, "none") == "crc32c",
        **times,
    )
    section.finish()
    return settings


def _credentials(section: Section) -> Credentials:
    keys = ("user", "password", "target_user", "target_password")
    words = [section.take(key, _word, "") for key in keys]
    try:
        return Credentials(*words)
    except UsageError as error:
        raise UsageError(f"{section.where}: {error.what}", hint=error.hint) from None


def _name(value: object) -> str:
    return check_iscsi_name(text(value))


def _word(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")  # the value is not said: it may be a password
    return value
