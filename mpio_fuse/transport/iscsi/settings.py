"""What can be set about iSCSI sessions, and where passwords come from without being on a command line.

In this order, the first that says something: the URL, what `stow` took away from it, the configuration, the
environment (the variables of libiscsi's own tools).
"""

import json
import os

import attrs

from mpio_fuse.transport.iscsi.url import (
    NO_CREDENTIALS,
    SCHEME,
    Credentials,
    IscsiUrl,
    parse_url,
)

STOWED_VARIABLE = "MPIO_FUSE_ISCSI_URLS"
_VARIABLES = (
    "LIBISCSI_CHAP_USERNAME",
    "LIBISCSI_CHAP_PASSWORD",
    "LIBISCSI_CHAP_TARGET_USERNAME",
    "LIBISCSI_CHAP_TARGET_PASSWORD",
)


@attrs.frozen
class IscsiSettings:
    """Times in seconds.

    ``link_timeout_s``: the other end's kernel acknowledges nothing for so long: the cable is cut.  ``ping_after_s``: a
    NOP-Out goes out when a busy session has heard nothing for so long.  ``ping_timeout_s``: the other end's kernel
    acknowledges, but the target does not answer for so long.
    """

    initiator_name: str | None = None
    credentials: Credentials = NO_CREDENTIALS
    header_digest: bool = False
    login_timeout_s: float = 5.0
    link_timeout_s: float = 1.0
    ping_after_s: float = 0.2
    ping_timeout_s: float = 5.0
    reconnect_s: float = 5.0
    """The longest pause between two attempts to log in again; the first comes at once."""


_configured: list[IscsiSettings] = [IscsiSettings()]


def configure(settings: IscsiSettings) -> None:
    """What `configured` is from now on: one process is one initiator."""
    _configured[0] = settings


def configured() -> IscsiSettings:
    """What applies where nothing else is given."""
    return _configured[0]


def stow(device: str) -> str:
    """Move what is secret in a DEVICE into this process's environment; what is left names the device.

    A child process inherits it, and `recalled` finds it there: nobody but this user can read it, as anybody can read a
    command line.

    Raises:
        UsageError: it is an ``iscsi://`` URL, but not a good one.
    """
    if not device.startswith(SCHEME):
        return device
    url = parse_url(device)
    remember(url)
    return url.name


def remember(url: IscsiUrl) -> None:
    """As `stow`, of a URL that was taken apart before."""
    if url.credentials or url.header_digest is not None:
        digest = "" if url.header_digest is None else "crc32c" if url.header_digest else "none"
        stowed = _stowed() | {url.name: [*attrs.astuple(url.credentials), digest]}
        os.environ[STOWED_VARIABLE] = json.dumps(stowed)


def recalled(device: str) -> IscsiUrl:
    """The URL that `stow` made this name of.

    Raises:
        UsageError: it is none.
    """
    url = parse_url(device)
    stowed = _stowed().get(url.name)
    if stowed is None:
        return url
    *words, digest = stowed
    return attrs.evolve(
        url,
        credentials=url.credentials or Credentials(*words),
        header_digest=digest == "crc32c"
        if url.header_digest is None and digest
        else url.header_digest,
    )


def resolved(url: IscsiUrl, settings: IscsiSettings) -> IscsiUrl:
    """The URL with what it leaves open taken from the settings and the environment."""
    return attrs.evolve(
        url,
        credentials=url.credentials or settings.credentials or credentials_of_environment(),
        header_digest=settings.header_digest if url.header_digest is None else url.header_digest,
    )


def credentials_of_environment() -> Credentials:
    """Those of libiscsi's variables.

    Raises:
        UsageError: half of a pair is missing.
    """
    return Credentials(*(os.environ.get(name, "") for name in _VARIABLES))


def _stowed() -> dict[str, list[str]]:
    stowed: dict[str, list[str]] = json.loads(os.environ.get(STOWED_VARIABLE, "{}"))
    return stowed
