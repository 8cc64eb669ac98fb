"""The state of a daemon as plain data: what ``status --json`` prints, and so a contract (docs/status.md)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpio_fuse.daemon.logs import Trouble
from mpio_fuse.device.retention import Retention
from mpio_fuse.device.snapshot import DeviceSnapshot, SinglePathSnapshot, UnderpathSnapshot
from mpio_fuse.fs.filesystem import OpenFile
from mpio_fuse.fs.namespace import DeviceFile
from mpio_fuse.transport.iscsi.url import SCHEME


def lun_report(
    device: DeviceSnapshot, file: DeviceFile, open_files: Sequence[OpenFile]
) -> dict[str, Any]:
    """One LUN.  Keys are text, sizes bytes, times Unix times; ``opens`` is by file description, oldest first."""
    reservation = device.reservation
    return {
        "name": file.name,
        "wwid": device.wwid,
        "size_bytes": device.size_bytes,
        "block_size_bytes": device.block_size_bytes,
        "key": str(device.key),
        "reservation": {
            "owner": reservation.owner,
            "holder": None if reservation.holder is None else str(reservation.holder),
            "type": reservation.type or None,
        },
        "single_path": _single_path(reservation.single_path),
        **_retention(device.retention),
        "fenced": any("fenced" in options for options in device.opens),
        "opens": list(device.opens),
        "openers": [
            {"pid": one.caller.pid, "uid": one.caller.uid, "options": str(one.options)}
            for one in open_files
            if one.node.device is file.device
        ],
        "selector": device.selector,
        "failback": device.failback,
        "underpaths": [_underpath(one) for one in device.underpaths],
    }


def _single_path(one: SinglePathSnapshot | None) -> dict[str, Any] | None:
    """None where there are persistent reservations."""
    if one is None:
        return None
    return {"carrier": one.carrier, "keeps_others_out": one.keeps_others_out}


def _retention(retention: Retention | None) -> dict[str, Any]:
    """``retained_since`` is None also when it was found at the start: nobody knows since when."""
    return {
        "retained": retention is not None,
        "retained_since": retention.since_s if retention else None,
        "retained_from_before": retention is not None and retention.is_from_before,
    }


def _underpath(one: UnderpathSnapshot) -> dict[str, Any]:
    counters = one.counters
    return {
        "device": one.name,
        "state": one.state,
        "registered": one.registered,
        "holder": one.is_holder,
        "in_flight": one.in_flight,
        "stranded": one.stranded,
        "reads": counters.reads,
        "writes": counters.writes,
        "bytes_read": counters.bytes_read,
        "bytes_written": counters.bytes_written,
        "failures": counters.failures,
        "last_failure": one.last_failure or None,
        "marginal": one.is_marginal,
        "failed_by_hand": one.is_held_out,
        "access": one.access,
        "carries": one.carries,
    }


def log_report(file: Path | None, trouble: Trouble | None) -> dict[str, Any]:
    """Where the log goes; ``problem`` is None while it can be written.  ``file`` None: stderr."""
    return {
        "file": None if file is None else str(file),
        "problem": trouble.problem if trouble else None,
        "problem_since": trouble.since_s if trouble else None,
        "records": trouble.records if trouble else 0,
    }


def retained_report(devices: Sequence[DeviceSnapshot]) -> list[dict[str, Any]]:
    """What stays reserved after the daemon's end; ``by`` in words.

    A SCSI-2 reservation ends with its nexus, and the nexuses of our own iSCSI sessions end with the daemon.
    """
    found = []
    for device in devices:
        single_path = device.reservation.single_path
        by = f"key {device.key}" if single_path is None else f"the nexus of {single_path.carrier}"
        if single_path is None or not str(single_path.carrier).startswith(SCHEME):
            found.append({"lun": device.name, "key": str(device.key), "by": by})
    return found


def users(open_files: Sequence[OpenFile]) -> str:
    """Who keeps a tree busy, for one line of an error."""
    if not open_files:
        return "a program works in it"
    names = sorted({file.node.name for file in open_files})
    pids = sorted({file.caller.pid for file in open_files})
    count = "1 open file" if len(open_files) == 1 else f"{len(open_files)} open files"
    return f"{count} of {', '.join(names)} (by process {', '.join(map(str, pids))})"
