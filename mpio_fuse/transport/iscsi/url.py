"""``iscsi://[USER[%PASSWORD]@]HOST[:PORT][/TARGET/LUN][?KEY=VALUE&...]``, taken apart and checked.

The form is libiscsi's.  What follows the question mark: ``target_user`` and ``target_password`` (mutual CHAP) and
``header_digest``.  A URL's `name` is what everybody may see: it has none of that, and no credentials.
"""

import re
from urllib.parse import unquote

import attrs

from mpio_fuse.errors import UsageError

SCHEME = "iscsi://"
DEFAULT_PORT = 3260
MAX_LUN = 0x3FFF
"""The largest number in flat space addressing (SAM-5 4.7.6.5)."""

_HOST = re.compile(
    r"(?:\[(?P<v6>[0-9A-Za-z:.%_-]+)\]|(?P<name>[^\[\]:/@?\s]+))(?::(?P<port>\d{1,5}))?"
)
_ISCSI_NAME = re.compile(r"(iqn|eui|naa)\.[a-z0-9.:_-]{1,219}")
_FORM = "iscsi://host[:port]/target-iqn/lun"


@attrs.frozen
class Credentials:
    """CHAP names and secrets; empty ones are absent.  ``target_*`` is what the target has to prove."""

    user: str = ""
    password: str = attrs.field(default="", repr=False)
    target_user: str = ""
    target_password: str = attrs.field(default="", repr=False)

    def __attrs_post_init__(self) -> None:
        """Half a pair would log in without any proof, and nobody would see it.

        Raises:
            UsageError: one without the other, or a proof of the target's alone.
        """
        if bool(self.user) != bool(self.password):
            raise UsageError("CHAP needs a user and a password")
        if bool(self.target_user) != bool(self.target_password):
            raise UsageError("mutual CHAP needs a target_user and a target_password")
        if self.target_user and not self.user:
            raise UsageError("mutual CHAP needs this host's user and password too")
        if any(len(word.encode()) > 255 or "\0" in word for word in attrs.astuple(self)):
            raise UsageError("a CHAP name or password of more than 255 bytes")

    def __bool__(self) -> bool:
        return bool(self.user)


NO_CREDENTIALS = Credentials()


@attrs.frozen
class IscsiUrl:
    """A portal, or a logical unit behind one.  ``target`` and ``lun`` are None for the portal alone."""

    host: str
    port: int = DEFAULT_PORT
    target: str | None = None
    lun: int | None = None
    credentials: Credentials = NO_CREDENTIALS
    header_digest: bool | None = None

    @property
    def portal(self) -> str:
        """``host:port``, as it is written in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORT else f"{host}:{self.port}"

    @property
    def name(self) -> str:
        """The URL without anything secret."""
        if self.target is None:
            return f"{SCHEME}{self.portal}"
        return f"{SCHEME}{self.portal}/{self.target}/{self.lun}"


def parse_url(text: str) -> IscsiUrl:
    """Take a URL apart.

    Raises:
        UsageError: it is none; what is said of it holds no password.
    """
    if not text.startswith(SCHEME):
        raise UsageError(f"not an iscsi:// URL: it has the form {_FORM}")
    rest, _, query = text.removeprefix(SCHEME).partition("?")
    authority, _, path = rest.partition("/")
    login, _, place = authority.rpartition("@")
    user, _, password = login.partition("%")
    try:
        options = _options(query)
        digest = options.pop("header_digest", None)
        credentials = Credentials(unquote(user), password, **options)
        host, port = _host(place)
        target, lun = _path(path)
    except UsageError as error:
        raise UsageError(error.what, underpath=f"{SCHEME}{place}", hint=_hint(error)) from None
    return IscsiUrl(host, port, target, lun, credentials, _digest(digest))


def is_portal(device: str) -> bool:
    """Whether a DEVICE is a portal, with all that is behind it.

    Raises:
        UsageError: it is an ``iscsi://`` URL, but not a good one.
    """
    return device.startswith(SCHEME) and parse_url(device).target is None


def check_iscsi_name(name: str) -> str:
    """An iSCSI name (RFC 7143 4.2.7) in its normal form.

    Raises:
        UsageError: it is none.
    """
    if not _ISCSI_NAME.fullmatch(name.lower()):
        raise UsageError(
            f"{name!r} is not an iSCSI name", hint="they begin with iqn., eui. or naa."
        )
    return name.lower()


def _hint(error: UsageError) -> str:
    return error.hint or f"the form is {_FORM}"


def _host(place: str) -> tuple[str, int]:
    match = _HOST.fullmatch(place)
    if match is None:
        raise UsageError("no host in this URL")
    port = int(match["port"] or DEFAULT_PORT)
    if not 0 < port < 1 << 16:
        raise UsageError("no such port")
    return match["v6"] or match["name"].lower(), port


def _path(path: str) -> tuple[str | None, int | None]:
    if not path.strip("/"):
        return None, None
    target, separator, lun = path.rstrip("/").partition("/")
    if not separator or not (lun.isascii() and lun.isdigit()) or int(lun) > MAX_LUN:
        raise UsageError("no target and LUN in this URL")
    return check_iscsi_name(unquote(target)), int(lun)


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        key, _, value = item.partition("=")
        if key == "data_digest":
            raise UsageError("libiscsi has no data digests", hint="header_digest=crc32c it has")
        if key not in {"target_user", "target_password", "header_digest"}:
            raise UsageError(f"unknown option {key!r} in this URL")
        options[key] = value
    return options


def _digest(word: str | None) -> bool | None:
    if word is None:
        return None
    if word not in {"none", "crc32c"}:
        raise UsageError("header_digest is none or crc32c")
    return word == "crc32c"
