"""From a URL to a session that is logged in.

Names are resolved in a thread: libiscsi would look them up itself, and stop everything for as long as that takes.  Each
address is tried in turn, within one bound for all.  A target may send us elsewhere (RFC 7143 11.13.5, class 1), a few
times at most.
"""

import re
import socket

import attrs
import trio

from mpio_fuse.errors import MpioError, TransportError
from mpio_fuse.transport.iscsi import native
from mpio_fuse.transport.iscsi.initiator import Isid
from mpio_fuse.transport.iscsi.native import Login, NativeSession
from mpio_fuse.transport.iscsi.settings import IscsiSettings
from mpio_fuse.transport.iscsi.url import DEFAULT_PORT, IscsiUrl

MAX_REDIRECTIONS = 3

_REASONS = {
    0x0201: ("the target does not accept this user and password", "see the target's CHAP settings"),
    0x0202: ("the target does not let this initiator in", "see the target's access list"),
    0x0203: (
        "the portal has no such target",
        "'mpio-fuse discover iscsi://HOST' lists what it has",
    ),
    0x0204: ("the target was removed", "'mpio-fuse discover iscsi://HOST' lists what there is"),
    0x0300: ("the target has an error of its own", "see the target's log"),
    0x0301: ("the target is not in service", "see the target's log"),
    0x0302: ("the target is out of resources", "it may have too many sessions"),
}
"""Of a login response (RFC 7143 11.13.5): what it means, and what to do."""

_PORTAL = re.compile(r"(?P<host>\[[^\]]+\]|[^:,\[\]]+)(?::(?P<port>\d{1,5}))?(?:,\d+)?")


@attrs.frozen
class Identity:
    """Who logs in: the initiator port."""

    initiator_name: str
    isid: Isid


async def log_in(url: IscsiUrl, who: Identity, settings: IscsiSettings) -> NativeSession:
    """Make a session; for SendTargets where the URL names no target.  ``url`` has its credentials.

    Raises:
        TransportError: it failed, or took longer than ``settings.login_timeout_s``.
    """
    with trio.move_on_after(settings.login_timeout_s):
        return await _follow(url, who)
    what = f"no login within {settings.login_timeout_s:g} s"
    raise TransportError(what, underpath=url.name, hint="check the network and the target")


async def _follow(url: IscsiUrl, who: Identity) -> NativeSession:
    host, port = url.host, url.port
    for _ in range(MAX_REDIRECTIONS + 1):
        session = await _first_of(await _addresses(url, host, port), port, url, who)
        if session.login is Login.DONE:
            return session
        place = session.redirected_to
        session.close()
        match = _PORTAL.fullmatch(place)
        if match is None:
            raise TransportError("sent elsewhere, but not where", underpath=url.name)
        host, port = match["host"].strip("[]"), int(match["port"] or DEFAULT_PORT)
    hint = "name the portal it belongs to"
    raise TransportError("sent from portal to portal", underpath=url.name, hint=hint)


async def _addresses(url: IscsiUrl, host: str, port: int) -> list[str]:
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        what = f"the host's name cannot be resolved: {error.strerror or error}"
        hint = "check the name, or give its address"
        raise TransportError(what, underpath=url.name, hint=hint) from error
    return list(dict.fromkeys(str(place[4][0]) for place in found))


async def _first_of(addresses: list[str], port: int, url: IscsiUrl, who: Identity) -> NativeSession:
    for address in addresses[:-1]:
        try:
            return await _try(address, port, url, who)
        except TransportError:
            continue
    return await _try(addresses[-1], port, url, who)


async def _try(address: str, port: int, url: IscsiUrl, who: Identity) -> NativeSession:
    """One connection and its login; `Login.DONE` or `Login.REDIRECTED`."""
    session = _prepared(url, who)
    try:
        if session.connect(address, port):
            await _negotiate(session)
        if session.login in {Login.DONE, Login.REDIRECTED}:
            return session
        raise _refused(session, url)
    except BaseException:
        session.close()
        raise


def _prepared(url: IscsiUrl, who: Identity) -> NativeSession:
    lun = url.lun or 0
    session = NativeSession(
        who.initiator_name,
        url.target,
        who.isid.numbers,
        lun if lun < 0x100 else 0x4000 | lun,  # peripheral, else flat space addressing (SAM-5 4.7)
        wants_digest=bool(url.header_digest),
    )
    if url.credentials:
        session.authenticate(*attrs.astuple(url.credentials))
    return session


async def _negotiate(session: NativeSession) -> None:
    """Connect and exchange login PDUs until it is decided."""
    await trio.lowlevel.wait_writable(session.fd)
    left = session.pump(is_connecting=True)
    while session.login is Login.UNDER_WAY and not left & native.LOST:
        if not left & native.MORE:
            await trio.lowlevel.wait_readable(session.fd)
        left = session.pump(is_readable=True)


def _refused(session: NativeSession, url: IscsiUrl) -> MpioError:
    what, hint = _REASONS.get(session.login_status, (None, None))
    return TransportError(
        f"cannot log in: {what or session.error or 'the target says no'}",
        underpath=url.name,
        hint=hint or "check the portal, the network and the target",
    )
