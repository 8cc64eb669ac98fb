"""Who is registered, and who holds: the state that PERSISTENT RESERVE OUT changes and IN reports (SPC-4 5.13).

Invariants: the holder is one of the registrations; ``type`` is None exactly when there is no holder.  With a type of
all registrants every registration holds, and ``holder`` is the one that would be named.
"""

from collections.abc import Hashable

import attrs

from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.sense_codes import RESERVATIONS_RELEASED, Code
from mpio_fuse.target.access import Situation, situation
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import Quirks, Released
from mpio_fuse.target.unit_attentions import UnitAttentions

GENERATION_MODULUS = 1 << 32
COMPARED_ISID_DIGITS = 8
"""LIO compares the first eight bytes of an ISID printed in hexadecimal."""


@attrs.define(eq=False)
class Registration:
    """One registration.  ``nexus`` is the session that made it, which may be gone."""

    nexus: Nexus
    key: ReservationKey
    all_tg_pt: bool = False


@attrs.define(eq=False)
class Registrations:
    """Registrations in the order in which they were made, the reservation, and PRGENERATION.

    ``nexuses`` are the sessions that exist, in order of their first command: those a unit attention can reach.
    """

    quirks: Quirks
    attentions: UnitAttentions
    nexuses: list[Nexus] = attrs.Factory(list)
    registered: list[Registration] = attrs.Factory(list)
    holder: Registration | None = None
    type: PrType | None = None
    """By which the conflict table is asked."""

    held_as: int = 0
    """SCOPE and TYPE as they are reported; with `Quirks.preempts_with_any_type` not always those of ``type``."""

    generation: int = 0
    is_aptpl_active: bool = False
    _active_ports: set[Hashable] = attrs.Factory(set)
    """Where `Quirks.conflicts_without_isid`: of the registrations of a port, whether the latest event was a new one."""

    def of(self, nexus: Nexus) -> Registration | None:
        """The registration this nexus has."""
        found = (one for one in self.registered if self.is_same(one.nexus, nexus))
        return next(found, None)

    def is_same(self, one: Nexus, other: Nexus) -> bool:
        """Whether this array takes them for one registrant."""
        return one.identity(self.quirks.basis) == other.identity(self.quirks.basis)

    def with_key(self, key: ReservationKey) -> list[Registration]:
        return [one for one in self.registered if one.key == key]

    def is_holder(self, registration: Registration | None) -> bool:
        """Whether it holds the reservation, alone or as one of all registrants."""
        if registration is None or self.type is None:
            return False
        return self.type.is_all_registrants or registration is self.holder

    def situation_of(self, nexus: Nexus) -> Situation | None:
        """Where a nexus stands in the conflict table; None: nobody holds, or it does and nothing conflicts."""
        registration = self.of(nexus)
        if self.type is None or self.holder is None or registration is self.holder:
            return None
        if self.quirks.conflicts_without_isid:
            return self._situation_of_port(nexus, self.holder, self.type)
        if self.is_holder(registration):
            return None
        return situation(self.type, is_registered=registration is not None)

    def _situation_of_port(
        self, nexus: Nexus, holder: Registration, pr_type: PrType
    ) -> Situation | None:
        port = port_without_isid(nexus)
        if port != port_without_isid(holder.nexus):
            return situation(pr_type, is_registered=port in self._active_ports)
        if nexus.isid[:COMPARED_ISID_DIGITS] == holder.nexus.isid[:COMPARED_ISID_DIGITS]:
            return None
        return situation(pr_type, is_registered=False)

    def add(self, nexus: Nexus, key: ReservationKey, *, all_tg_pt: bool = False) -> Registration:
        """A new registration, or a new key for the one that nexus has."""
        existing = self.of(nexus)
        if existing is not None:
            existing.key = key
            return existing
        registration = Registration(nexus, key, all_tg_pt)
        self.registered.append(registration)
        self._active_ports.add(port_without_isid(nexus))
        return registration

    def remove(self, registration: Registration) -> bool:
        """Unregister (5.13.11.2.3); returns whether the reservation went with it."""
        self.registered.remove(registration)
        self._active_ports.discard(port_without_isid(registration.nexus))
        if registration is not self.holder:
            return False
        if self.type is not None and self.type.is_all_registrants and self.registered:
            self.holder = self.registered[0]
            return False
        self.drop_reservation()
        return True

    def hold(self, registration: Registration, pr_type: PrType, held_as: int | None = None) -> None:
        self.holder, self.type = registration, pr_type
        self.held_as = pr_type if held_as is None else held_as

    def drop_reservation(self) -> None:
        self.holder = self.type = None
        self.held_as = 0

    def forget(self) -> None:
        """Remove everything: CLEAR, or a power loss without APTPL."""
        self.registered.clear()
        self._active_ports.clear()
        self.drop_reservation()

    def next_generation(self, by: int = 1) -> None:
        """PRGENERATION rises, and wraps (6.15.2)."""
        self.generation = (self.generation + by) % GENERATION_MODULUS

    def attend(self, registrations: list[Registration], code: Code, *, issuer: Nexus) -> None:
        """A unit attention for each session of these registrants, the one that issued the command left out."""
        if self.quirks.attentions_without_isid:
            # For the port of the registration, which another session may have by now, even the issuer.
            for one in registrations:
                if not self.is_same(one.nexus, issuer):
                    self.attentions.establish(port_without_isid(one.nexus), code)
            return
        for nexus in self.nexuses:
            is_told = any(self.is_same(one.nexus, nexus) for one in registrations)
            if is_told and nexus != issuer:
                self.attentions.establish(attention_port(nexus, self.quirks), code)

    def attend_to_release(self, pr_type: PrType, issuer: Nexus, *, unregistered: bool) -> None:
        """RESERVATIONS RELEASED, for whom this array tells of it."""
        has_registrants = pr_type.is_registrants_only or pr_type.is_all_registrants
        if self.quirks.released is Released.REGISTRANTS:
            if has_registrants:
                self.attend(self.registered, RESERVATIONS_RELEASED, issuer=issuer)
            return
        if unregistered or not has_registrants:
            self._attend_as_tgt(issuer)

    def _attend_as_tgt(self, issuer: Nexus) -> None:
        for one in self.registered:
            if self.is_same(one.nexus, issuer):
                continue
            for nexus in self.nexuses:
                if not self.is_same(one.nexus, nexus):
                    self.attentions.establish(
                        attention_port(nexus, self.quirks), RESERVATIONS_RELEASED
                    )


def port_without_isid(nexus: Nexus) -> tuple[object, ...]:
    """An initiator at a target port, whatever its session."""
    return nexus.initiator_name, nexus.target_port


def attention_port(nexus: Nexus, quirks: Quirks) -> tuple[object, ...]:
    """What a unit attention waits for.

    Where registrations survive a new session of the same port, so do attentions.
    """
    if quirks.attentions_without_isid:
        return port_without_isid(nexus)
    port = (nexus.initiator_name, nexus.isid, nexus.target_port)
    return (*port, nexus.login) if quirks.basis.is_lost_with_session else port
