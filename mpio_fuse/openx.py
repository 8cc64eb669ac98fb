"""``openx`` for Python: open a LUN's file with options that open(2) has no room for.

It opens through the directory of the mount that stands for the options (``.ext/forced+retain/LUN``), and so does not
depend on what that mount's flags have been configured to stand for.
"""

import errno
import os
from pathlib import Path

from mpio_fuse.daemon.mountpoint import FSTYPE, MOUNTINFO, mounts
from mpio_fuse.errors import UsageError
from mpio_fuse.fs.namespace import OPTIONS_NAME
from mpio_fuse.reserve.fig07_decision import OpenOption, check_options
from mpio_fuse.reserve.option_words import parse_options, spell_options

_MEANINGS = {
    errno.EIO: "another host has it reserved, or none of its underpaths works",
    errno.EBUSY: "another host has it reserved, or it is open on this host already",
    errno.EACCES: "no permission, or it is open as SINGLE",
    errno.EPERM: "not allowed to force it open; that takes root or the configured forced_open_group",
    errno.EINVAL: "the options of ext, flags and directory contradict each other",
    errno.ENOTCONN: "the daemon that served it is gone",
    errno.ESHUTDOWN: "it is being unmounted",
}
"""What the errors of an open mean here, where strerror(3) cannot know."""


def openx(
    path: str | os.PathLike[str], flags: int, ext: str | OpenOption = OpenOption.DEFAULT
) -> int:
    """Open a LUN of an mpio-fuse mount, as AIX's openx does, and return the file descriptor.

    The options add up with those that ``flags`` and the path's own directory stand for.  When none is named at all,
    the LUN's configured default applies.

    Args:
        path: a LUN's file, also one below ``.ext`` or a symbolic link to one.
        flags: as of os.open; the descriptor is not inherited.
        ext: options, or their words: ``"forced+retain"``; of ``no-reserve``, ``retain``, ``single``, ``forced``.

    Raises:
        OSError: the open failed; ``errno`` as docs/open-options.md lists them.  EINVAL: ``ext`` names no option or
            contradicts itself.  ENOTTY: ``path`` is no LUN of an mpio-fuse mount.
    """
    name = os.fspath(path)
    try:
        target = _target(name, _options(ext))
    except UsageError as error:
        raise OSError(error.errno, str(error), name) from None
    try:
        return os.open(target, flags)
    except OSError as error:
        raise _explained(error, name) from None


def _options(ext: str | OpenOption) -> OpenOption:
    """What ``ext`` says, seen to be possible."""
    try:
        options = parse_options(ext) if isinstance(ext, str) else OpenOption(ext)
    except (ValueError, TypeError):
        raise UsageError(f"{ext!r} is no open option", hint="name it, as 'retain'") from None
    check_options(options)
    return options


def _target(name: str, options: OpenOption) -> Path:
    """The file to open: the one that stands for the path's own options and these."""
    real = Path(os.path.realpath(name))
    root = _mount_root(real, name)
    match real.relative_to(root).parts:
        case (lun,):
            pass
        case (str(directory), words, lun) if directory == OPTIONS_NAME:
            options |= parse_options(words)
            check_options(options)
        case _:
            raise OSError(errno.ENOTTY, "not the file of a LUN", name)
    return root / OPTIONS_NAME / spell_options(options) / lun if options else root / lun


def _mount_root(real: Path, name: str) -> Path:
    """The root of the mpio-fuse mount that a file lies in.

    Raises:
        OSError: ENOTTY, it lies in none; or it does not exist.
    """
    try:
        device = os.stat(real).st_dev  # noqa: PTH116 - as os.open would say it
    except OSError as error:
        raise _explained(error, name) from None
    number = f"{os.major(device)}:{os.minor(device)}"
    for mount in mounts(MOUNTINFO.read_text()):
        is_served = mount.device == number and mount.fstype == FSTYPE
        if is_served and real.is_relative_to(mount.mountpoint):
            return Path(mount.mountpoint)
    raise OSError(errno.ENOTTY, "not in an mpio-fuse mount, so open options mean nothing", name)


def _explained(error: OSError, name: str) -> OSError:
    """The same error, of the path the caller knows, with what it means here."""
    text = os.strerror(error.errno) if error.errno else str(error)
    meaning = _MEANINGS.get(error.errno or 0)
    return OSError(error.errno, f"{text}: {meaning}" if meaning else text, name)
