"""Random sequences, the same ones for the same seed.

Blind chance would be refused nearly always: the wrong key, the wrong type.  So the generator remembers the key that
each nexus registered last and the type that was reserved last, as if all commands had worked, and mostly uses
those.  Keys are few, so that nexuses share them by accident.  Every sequence ends with a look at everything.
"""

import random
from collections.abc import Callable, Sequence

import attrs

from mpio_fuse.scsi.opcodes import PrOut
from mpio_fuse.scsi.pr_out import ALL_TG_PT, APTPL
from mpio_fuse.scsi.pr_types import PrType
from tests.agreement.side import LAST_BLOCK, WRITTEN_BLOCKS
from tests.agreement.step import LOG_IN_AGAIN, LUN_RESET, Step

KEYS = (0xA1, 0xA2, 0xB1, 0xFFFF_FFFF_FFFF_FFFF)
WRONG_KEYS = (0, 0xBAD)
TYPES = tuple(int(kind) for kind in PrType)
WRONG_TYPES = (0, 2, 4, 9, 0xF)
OTHERS = (
    *("tur", "tur", "tur", "sync", "sync16", "rcap", "rcap16", "modes", "modes", "inq", "vpd"),
    *("reqsense", "rluns", "verify", "rtpg", "raw ff 00 00 00 00 00"),
)
SHORTEST, LONGEST = 4, 24
BELIEF, MISTAKE = 0.8, 0.06
OPENING = 0.5
"""How likely a nexus registers first of all: strangers alone are refused and refused."""


@attrs.frozen
class Menu:
    """What a target is asked.  ``log_in_again`` is how often, in a hundred steps, as it takes a second."""

    has_preempt_and_abort: bool
    has_ports: bool
    """ALL_TG_PT and SPEC_I_PT, which are about initiators with several ports."""

    has_register_and_move: bool

    log_in_again: float = 0.0


def sequence(seed: int, number: int, names: Sequence[str], menu: Menu) -> tuple[Step, ...]:
    """Sequence ``number`` of that seed."""
    chance = random.Random(f"{seed}:{number}")  # noqa: S311 (repeatable is the point)
    draw = _Draw(chance, menu, tuple(names))
    steps = [draw.step() for _ in range(chance.randint(SHORTEST, LONGEST))]
    return (*draw.opening, *steps, *last_look(names))


def last_look(names: Sequence[str]) -> list[Step]:
    """What is pending for everybody, who is registered, who holds, what is written."""
    attentions = [Step(who, "tur") for who in names for _ in range(2)]
    first = [Step(names[0], words) for words in ("keys", "reservation", "prin 2", "prin 3")]
    return [*attentions, *first, *(Step(who, f"read 0 {WRITTEN_BLOCKS}") for who in names)]


class _Draw:
    """One sequence while it is being made."""

    def __init__(self, chance: random.Random, menu: Menu, names: tuple[str, ...]) -> None:
        self._chance = chance
        self._names = names
        self._key_of = dict.fromkeys(names, 0)
        self._type = 0
        weights: dict[Callable[[str], str], float] = {
            self._register: 10,
            self._register_and_ignore: 9,
            self._reserve: 13,
            self._release: 8,
            self._preempt: 10,
            self._preempt_and_abort: 4 * menu.has_preempt_and_abort,
            self._clear: 2,
            self._unregister: 5,
            self._other_pr_out: 2,
            self._move: 3 * menu.has_register_and_move,
            self._spec: 1 * menu.has_ports,
            self._pr_in: 14,
            self._read: 6,
            self._write: 6,
            self._anything_else: 18,
            self._scsi2: 6,
            lambda _who: LUN_RESET: 2,
            lambda _who: LOG_IN_AGAIN: menu.log_in_again,
        }
        self._kinds, self._weights = list(weights), list(weights.values())
        self._has_all_tg_pt = menu.has_ports
        self.opening = [Step(who, self._register(who)) for who in names if self._happens(OPENING)]

    def step(self) -> Step:
        who = self._chance.choice(self._names)
        [kind] = self._chance.choices(self._kinds, self._weights)
        return Step(who, kind(who))

    def _happens(self, probability: float) -> bool:
        return self._chance.random() < probability

    def _key(self) -> int:
        return self._chance.choice(WRONG_KEYS if self._happens(MISTAKE) else KEYS)

    def _key_for(self, who: str) -> int:
        return self._key_of[who] if self._happens(BELIEF) else self._key()

    def _scope_and_type(self) -> int:
        if self._happens(MISTAKE):
            return self._chance.choice(WRONG_TYPES) | self._chance.choice((0, 0, 0x10))
        if self._happens(MISTAKE / 2):
            return 0x10 | self._chance.choice(TYPES)
        return self._chance.choice(TYPES)

    def _believed_type(self) -> int:
        return self._type if self._type and self._happens(BELIEF) else self._scope_and_type()

    def _flags(self) -> int:
        aptpl = APTPL if self._happens(0.08) else 0
        return aptpl | (ALL_TG_PT if self._has_all_tg_pt and self._happens(0.1) else 0)

    def _register(self, who: str) -> str:
        key, new = self._key_for(who), self._key()
        self._key_of[who] = new
        return f"prout 0 0 {key:#x} {new:#x} {self._flags():#x}"

    def _register_and_ignore(self, who: str) -> str:
        key, new = self._chance.choice((0, self._key_for(who))), self._key()
        self._key_of[who] = new
        return f"prout 6 0 {key:#x} {new:#x} {self._flags():#x}"

    def _unregister(self, who: str) -> str:
        action, key = self._chance.choice((0, 6)), self._key_for(who)
        self._key_of[who] = 0
        return f"prout {action} 0 {key:#x} 0x0 {self._flags():#x}"

    def _reserve(self, who: str) -> str:
        pr_type = self._scope_and_type()
        self._type = self._type or pr_type
        return f"prout 1 {pr_type} {self._key_for(who):#x}"

    def _release(self, who: str) -> str:
        pr_type, self._type = self._believed_type(), 0
        return f"prout 2 {pr_type} {self._key_for(who):#x}"

    def _preempt(self, who: str, action: PrOut = PrOut.PREEMPT) -> str:
        victim = self._key_of[self._chance.choice(self._names)]
        victim = victim if self._happens(BELIEF) else self._key()
        self._type = self._scope_and_type()
        return f"prout {action:d} {self._type} {self._key_for(who):#x} {victim:#x}"

    def _preempt_and_abort(self, who: str) -> str:
        return self._preempt(who, PrOut.PREEMPT_AND_ABORT)

    def _clear(self, who: str) -> str:
        self._type = 0
        return f"prout 3 {self._chance.choice((0, 6))} {self._key_for(who):#x}"

    def _other_pr_out(self, who: str) -> str:
        """Actions that nobody has, and lists that are too short or too long."""
        if self._happens(0.4):
            return f"prout {self._chance.choice((8, 9, 0x1F))} 6 {self._key_for(who):#x} 0xa1"
        action = self._chance.choice((0, 1, 2, 3, 4, 6, 9))
        return f"list {action} 6 {self._chance.choice((0, 8, 16, 23, 25, 28))}"

    def _move(self, who: str) -> str:
        flags = self._chance.choice((0, 0, 1, 2, 3))
        self._key_of["B1"] = key = self._key()
        return f"move {self._key_for(who):#x} {key:#x} {flags}"

    def _spec(self, _who: str) -> str:
        return f"spec {self._key():#x}"

    def _pr_in(self, _who: str) -> str:
        if self._happens(0.15):
            allocation = self._chance.choice((0, 4, 7, 8, 12, 16, 24))
            return f"prin {self._chance.choice((0, 1, 4))} {allocation}"
        return self._chance.choice(("keys", "reservation", "prin 2", "prin 3", "prin 3"))

    def _read(self, _who: str) -> str:
        if self._happens(MISTAKE):
            return f"read {LAST_BLOCK} 2"
        if self._happens(0.15):
            return "read16"
        lba = self._chance.randrange(WRITTEN_BLOCKS)
        return f"read {lba} {self._chance.randint(0, WRITTEN_BLOCKS - lba)}"

    def _write(self, _who: str) -> str:
        if self._happens(MISTAKE):
            return f"write {LAST_BLOCK} 2 1"
        if self._happens(0.15):
            return "write16"
        lba = self._chance.randrange(WRITTEN_BLOCKS)
        blocks = self._chance.randint(0, WRITTEN_BLOCKS - lba)
        return f"write {lba} {blocks} {self._chance.randrange(1, 256)}"

    def _anything_else(self, _who: str) -> str:
        return self._chance.choice(OTHERS)

    def _scsi2(self, _who: str) -> str:
        return self._chance.choice(("res6", "res6", "rel6", "rel6", "res10", "rel10"))
