"""What a portal leads to: SendTargets (RFC 7143, appendix C), then REPORT LUNS of each target.

All of it is the target's word: names are checked, and how many of them are believed is bounded.
"""

import re
from collections.abc import Sequence

import attrs
import trio

from mpio_fuse.errors import MpioError, TransportError, UsageError
from mpio_fuse.scsi.command import Completion, Status, received
from mpio_fuse.scsi.report_luns import decode_report_luns, report_luns
from mpio_fuse.transport.iscsi import native
from mpio_fuse.transport.iscsi.initiator import claim_isid, initiator_name
from mpio_fuse.transport.iscsi.login import Identity, log_in
from mpio_fuse.transport.iscsi.native import NativeSession
from mpio_fuse.transport.iscsi.settings import (
    IscsiSettings,
    configured,
    recalled,
    remember,
    resolved,
)
from mpio_fuse.transport.iscsi.transport import IscsiTransport, open_iscsi
from mpio_fuse.transport.iscsi.url import DEFAULT_PORT, IscsiUrl, check_iscsi_name

MAX_URLS = 4096
UNIT_ATTENTIONS = 5
"""So many may come in the way of one REPORT LUNS."""

_PORTAL = re.compile(
    r"(?:\[(?P<v6>[0-9A-Za-z:.%_-]+)\]|(?P<name>[^\s\[\]:/,]+))(?::(?P<port>\d{1,5}))?(?:,\d+)?"
)
_ANY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104 (what a target says, not where we listen)


@attrs.frozen
class Target:
    """A target and its portals, each a host and a port."""

    name: str
    portals: tuple[tuple[str, int], ...]


async def discover_targets(
    device: str, settings: IscsiSettings | None = None
) -> tuple[Target, ...]:
    """The targets behind ``iscsi://host[:port]``, in a discovery session of its own.

    Raises:
        UsageError: it is no such URL.
        MpioError: no login, no answer, or none that can be believed.
    """
    settings = settings or configured()
    url = resolved(recalled(device), settings)
    name = initiator_name(settings.initiator_name)
    portal = attrs.evolve(url, target=None, lun=None)
    isid = claim_isid(name, portal.name)
    try:
        session = await log_in(portal, Identity(name, isid), settings)
        try:
            with trio.move_on_after(settings.login_timeout_s):
                return _targets(await _listed(session, portal), portal)
            hint = "check the target"
            raise TransportError("no list of targets in time", underpath=portal.name, hint=hint)
        finally:
            session.close()
    finally:
        isid.release()


async def find_units(device: str, settings: IscsiSettings | None = None) -> tuple[str, ...]:
    """The URL of every logical unit behind a portal, over every portal of its target.

    Credentials are those of the portal, and are remembered for each.

    Raises:
        As `discover_targets`; and if no target tells its logical units.
    """
    url = recalled(device)
    found: list[IscsiUrl] = []
    failures: list[MpioError] = []
    for target in await discover_targets(device, settings):
        over = [_unit(url, target.name, portal, 0) for portal in target.portals]
        try:
            numbers = await _units(over, settings)
        except MpioError as error:
            failures.append(error)
            continue
        found += [attrs.evolve(place, lun=number) for number in numbers for place in over]
    if failures and not found:
        raise failures[0]
    for one in found[:MAX_URLS]:
        remember(one)
    return tuple(one.name for one in found[:MAX_URLS])


async def _listed(session: NativeSession, portal: IscsiUrl) -> Sequence[tuple[str, str]]:
    if not session.list_targets():
        raise TransportError(session.error, underpath=portal.name)
    left = session.pump()
    while (items := session.targets()) is None:
        if left & native.LOST:
            raise TransportError(f"no list of targets: {session.error}", underpath=portal.name)
        await trio.lowlevel.wait_readable(session.fd)
        left = session.pump(is_readable=True)
    return items


def _targets(items: Sequence[tuple[str, str]], asked: IscsiUrl) -> tuple[Target, ...]:
    """Each target's name is followed by its portals; without any, it is behind the one that was asked."""
    portals: dict[str, list[tuple[str, int]]] = {}
    name = ""
    for kind, text in items:
        if kind == "T":
            name = _checked_name(text, asked)
            portals.setdefault(name, [])
        else:
            portals[name].append(_portal(text, asked))
    return tuple(
        Target(name, tuple(dict.fromkeys(sorted(places) or [(asked.host, asked.port)])))
        for name, places in sorted(portals.items())
    )


def _checked_name(text: str, asked: IscsiUrl) -> str:
    try:
        return check_iscsi_name(text)
    except UsageError as error:
        what = f"the portal lists a target whose name is none: {error.what}"
        raise MpioError(what, underpath=asked.name) from error


def _portal(text: str, asked: IscsiUrl) -> tuple[str, int]:
    match = _PORTAL.fullmatch(text)
    port = int(match["port"] or DEFAULT_PORT) if match else 0
    if match is None or not 0 < port < 1 << 16:
        raise MpioError(f"the portal lists {text!r}, which is no portal", underpath=asked.name)
    host = match["v6"] or match["name"]
    return (asked.host if host in _ANY_ADDRESS else host), port


def _unit(asked: IscsiUrl, target: str, portal: tuple[str, int], lun: int) -> IscsiUrl:
    host, port = portal
    return attrs.evolve(asked, host=host, port=port, target=target, lun=lun)


async def _units(over: Sequence[IscsiUrl], settings: IscsiSettings | None) -> list[int]:
    """The logical unit numbers of a target, over the first of its portals that tells them."""
    failure = MpioError("no portal")
    for place in over:
        remember(place)
        try:
            transport = await open_iscsi(place.name, settings)
            try:
                return await _report(transport)
            finally:
                with trio.CancelScope(shield=True):
                    await transport.aclose()
        except MpioError as error:
            failure = error
    raise failure


async def _report(transport: IscsiTransport) -> list[int]:
    length_bytes = 4096
    completion = Completion()
    for _ in range(UNIT_ATTENTIONS):
        command = report_luns(length_bytes)
        completion = await transport.execute(command)
        if completion.status == Status.CHECK_CONDITION:
            continue
        if not completion.is_good:
            break
        luns = decode_report_luns(received(command, completion))
        if not luns.is_truncated:
            return [lun.number for lun in luns.luns if lun.number is not None]
        length_bytes = luns.length_bytes
    raise TransportError(f"no REPORT LUNS: {completion}", underpath=transport.name)
