"""An explanation as plain data: what ``explain --json`` prints, and so a contract with programs (docs/persist.md)."""

import errno
from typing import Any

from mpio_fuse.daemon.reserve_reading import reservation_document
from mpio_fuse.reserve.explain_words import Explanation, Removed, Sent, Step
from mpio_fuse.reserve.option_words import spell_options
from mpio_fuse.reserve.situation import Situation

Document = dict[str, Any]


def explanation_document(told: Explanation, situation: Situation) -> Document:
    """``errno`` and ``error`` are None when the open succeeds."""
    held = situation.reservation
    is_single_path = not situation.has_persistent_reserve
    return {
        "lun": situation.lun,
        "options": spell_options(told.options),
        "key": str(situation.key),
        "reservation": reservation_document(held) if held else None,
        "is_ours": situation.is_ours or (is_single_path and situation.holder_name is not None),
        "is_single_path": is_single_path,
        "opens": [spell_options(one) for one in situation.standing],
        "figure": told.figure or None,
        "steps": [_step(one) for one in told.steps],
        "errno": told.errno,
        "error": None if told.errno is None else errno.errorcode[told.errno],
        "reason": told.reason or None,
        "removed": [_removed(one) for one in told.removed],
        "notes": list(told.notes),
    }


def _step(step: Step) -> Document:
    return {
        "box": step.box,
        "title": step.title,
        "commands": [_sent(one) for one in step.commands],
        "outcome": step.outcome.value,
    }


def _sent(one: Sent) -> Document:
    return {
        "underpath": one.underpath,
        "action": one.action.name,
        "words": one.words,
        "note": one.note or None,
        "is_answered": one.is_answered,
    }


def _removed(one: Removed) -> Document:
    return {
        "key": str(one.key),
        "is_holder": one.is_holder,
        "transport_id": str(one.transport_id) if one.transport_id else None,
    }
