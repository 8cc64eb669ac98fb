"""The model's side."""

from collections.abc import Mapping

from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import Quirks
from tests.agreement.answer import Ports, text_of_data, text_of_sense
from tests.agreement.side import ANSWERED_NOTHING
from tests.agreement.step import LOG_IN_AGAIN, LUN_RESET, Step, on_the_wire, speaks_of_b1

TEST_UNIT_READY = bytes(6)


class ModelSide:
    """A new `LogicalUnitModel` for each sequence, with these nexuses."""

    def __init__(self, quirks: Quirks, nexuses: Mapping[str, Nexus]) -> None:
        self._quirks = quirks
        self._at_first = dict(nexuses)
        self.begin()

    def begin(self) -> None:
        self._model = LogicalUnitModel(self._quirks)
        self._nexuses = dict(self._at_first)
        self._ports: dict[tuple[bytes, int], str] = {}
        for who in self._nexuses:
            self._attach(who)
            while not self._model.execute(self._nexuses[who], TEST_UNIT_READY).is_good:
                pass

    def take(self, step: Step) -> str:
        nexus = self._nexuses[step.who]
        if step.words == LUN_RESET:
            self._model.lun_reset(nexus)
            return ANSWERED_NOTHING
        if step.words == LOG_IN_AGAIN:
            self._log_in_again(step.who, nexus)
            return ANSWERED_NOTHING
        named = self._nexuses["B1"].transport_id.raw if speaks_of_b1(step.words) else b""
        wire = on_the_wire(step.words, named)
        answer = self._model.execute(nexus, wire.cdb, wire.data_out)
        text = f"{answer.status:02x}"
        if answer.sense:
            text += f" {text_of_sense(answer.sense)}"
        if not answer.is_good:
            return text
        data = answer.data_in[: wire.data_in_length_bytes]
        return text + text_of_data(wire.cdb, data, 0, self.ports)

    @property
    def ports(self) -> Ports:
        return self._ports

    def _log_in_again(self, who: str, nexus: Nexus) -> None:
        self._model.detach(nexus)
        self._nexuses[who] = nexus.logged_in_again(f"00023d00{nexus.login + 0x80:02x}{who[1]:0>2}")
        self._attach(who)

    def _attach(self, who: str) -> None:
        nexus = self._nexuses[who]
        self._model.attach(nexus)
        name = f"{who}'s session {nexus.login}"
        self._ports[nexus.transport_id.raw, nexus.target_port] = name
