"""DEVICEs that stand for several: ``iscsi://host`` is every logical unit of every target behind that portal."""

from collections.abc import Awaitable, Callable, Sequence

from mpio_fuse.device.sysfs import UNKNOWN, Attachment
from mpio_fuse.errors import MpioError
from mpio_fuse.transport.iscsi import find_units
from mpio_fuse.transport.iscsi.url import SCHEME, is_portal, parse_url

FindUnits = Callable[[str], Awaitable[Sequence[str]]]


async def listed(
    device: str, refuse: Callable[[str, MpioError], None], find: FindUnits = find_units
) -> Sequence[str] | None:
    """The DEVICEs behind a portal; None for a DEVICE that is one itself.  A portal that fails is refused."""
    try:
        return await find(device) if is_portal(device) else None
    except MpioError as error:
        refuse(device, error)
        return ()


def attachment_of(device: str) -> Attachment:
    """What a URL itself tells of the nexus; nothing, for a device node."""
    if not device.startswith(SCHEME):
        return Attachment(UNKNOWN)
    url = parse_url(device)
    return Attachment("iscsi", {"target": url.target or "", "portal": f"{url.host}:{url.port}"})
