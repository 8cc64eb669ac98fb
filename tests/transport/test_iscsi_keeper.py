"""When a session is given up, on a virtual clock and with a session that says what a test tells it to."""

import attrs
import pytest
import trio
import trio.testing

from mpio_fuse.transport.iscsi.keeper import ABORT_TIMEOUT_S, IDLE_S, TICK_S, Keeper
from mpio_fuse.transport.iscsi.session import SessionCommand
from mpio_fuse.transport.iscsi.settings import IscsiSettings

pytestmark = pytest.mark.virtual_clock

SETTINGS = IscsiSettings(link_timeout_s=1.0, ping_after_s=0.3, ping_timeout_s=5.0)


@attrs.define
class FakeNative:
    """Its clocks are trio's."""

    heard_s: float = attrs.Factory(trio.current_time)
    acknowledged_s: float = attrs.Factory(trio.current_time)
    owes: bool = False
    pings_out: int = 0

    @property
    def silent_s(self) -> float:
        return trio.current_time() - self.heard_s

    @property
    def unacknowledged_s(self) -> float:
        return trio.current_time() - self.acknowledged_s if self.owes else 0.0


class FakeSession:
    """What `Keeper` uses of a `Session`."""

    def __init__(self) -> None:
        self.native = FakeNative()
        self.in_flight: dict[int, SessionCommand] = {}
        self.is_reset_out = False
        self.reset_due_s = 0.0
        self.sent = 0
        self.has_ended = False
        self.lost: tuple[float, str] | None = None
        self.pings: list[float] = []
        self.aborts: list[tuple[float, int]] = []
        self.can_abort = True
        self.answers_pings = True

    def wake_keeper(self) -> None:
        """A keeper puts its own here."""

    def send(self, timeout_s: float = 60.0) -> None:
        self.in_flight[self.sent] = SessionCommand(None, trio.current_time() + timeout_s)
        self.sent += 1
        self.native.owes = True
        self.wake_keeper()

    def lose(self, why: str) -> None:
        self.lost = (trio.current_time(), why)
        self.has_ended = True

    def ping(self) -> None:
        self.pings.append(trio.current_time())
        if self.answers_pings:
            self.native.heard_s = trio.current_time()
        else:
            self.native.pings_out += 1
            self.native.owes = True

    def abort(self, slot: int) -> bool:
        self.aborts.append((trio.current_time(), slot))
        return self.can_abort


@pytest.fixture
async def session(nursery: trio.Nursery) -> FakeSession:
    session = FakeSession()
    nursery.start_soon(Keeper(session, SETTINGS).run)  # type: ignore[arg-type]
    await trio.testing.wait_all_tasks_blocked()
    return session


async def within(session: FakeSession, limit_s: float) -> str:
    """Why the session is lost, which it must be by then."""
    begin_s = trio.current_time()
    await trio.sleep(limit_s)
    assert session.lost is not None
    assert session.lost[0] - begin_s <= limit_s
    return session.lost[1]


async def test_a_cut_under_a_read_shows_in_less_than_two_seconds(session: FakeSession) -> None:
    """The target had acknowledged the command: nothing was due until the ping."""
    session.send()
    session.native.owes = False
    session.answers_pings = False
    session.native.acknowledged_s = trio.current_time()
    assert "the link is cut" in await within(session, 1.6)
    assert len(session.pings) == 1


async def test_a_cut_under_a_write_shows_in_less_than_two_seconds(session: FakeSession) -> None:
    session.send()
    session.answers_pings = False
    assert "the link is cut" in await within(session, 1.3)


async def test_a_cut_in_idleness_shows_before_a_command_has_to_find_it(
    session: FakeSession,
) -> None:
    session.answers_pings = False
    assert "the link is cut" in await within(session, IDLE_S + 1.5)


async def test_long_idle_is_not_taken_for_a_cut(session: FakeSession) -> None:
    """The last acknowledgement is old, but nothing was due until now."""
    await trio.sleep(IDLE_S * 0.9)
    session.send()
    await trio.sleep(0.9)
    assert session.lost is None


async def test_acknowledgements_keep_a_slow_target_alive(session: FakeSession) -> None:
    session.send()
    session.answers_pings = False
    for _ in range(40):
        await trio.sleep(TICK_S)
        session.native.acknowledged_s = trio.current_time()
    assert session.lost is None
    for _ in range(20):
        await trio.sleep(TICK_S)
        session.native.acknowledged_s = trio.current_time()
    assert session.lost is not None
    assert "no answer to a NOP" in session.lost[1]


async def test_answers_to_pings_keep_it_alive(session: FakeSession) -> None:
    session.send()
    session.native.owes = False
    await trio.sleep(30)
    assert session.lost is None
    assert len(session.pings) >= 30 / (SETTINGS.ping_after_s + 2 * TICK_S)


async def test_data_is_as_good_as_an_answer_to_a_ping(session: FakeSession) -> None:
    session.send()
    session.answers_pings = False
    await trio.sleep(SETTINGS.ping_after_s + 2 * TICK_S)
    assert session.native.pings_out == 1
    for _ in range(100):
        session.native.heard_s = session.native.acknowledged_s = trio.current_time()
        await trio.sleep(TICK_S)
    assert session.lost is None


async def test_an_idle_session_costs_a_ping_in_a_while(session: FakeSession) -> None:
    await trio.sleep(100)
    assert session.lost is None
    assert 100 / (2 * IDLE_S + 1) <= len(session.pings) <= 100 / IDLE_S


async def test_an_overdue_command_is_aborted_once_and_then_the_session_ends(
    session: FakeSession,
) -> None:
    session.native.owes = False
    session.send(timeout_s=2.0)
    session.native.owes = False
    begin_s = trio.current_time()
    why = await within(session, 2.0 + ABORT_TIMEOUT_S + 3 * TICK_S)
    assert why == "no answer to an ABORT TASK"
    assert [slot for _, slot in session.aborts] == [0]
    assert session.aborts[0][0] - begin_s >= 2.0


async def test_a_command_that_cannot_be_aborted_ends_the_session(session: FakeSession) -> None:
    session.can_abort = False
    session.send(timeout_s=1.0)
    session.native.owes = False
    assert await within(session, 1.0 + 3 * TICK_S) == "a command could not be sent in time"


async def test_a_reset_without_an_answer_ends_the_session(session: FakeSession) -> None:
    session.is_reset_out = True
    session.reset_due_s = trio.current_time() + 10
    session.wake_keeper()
    assert await within(session, 10 + 3 * TICK_S) == "no answer to a LOGICAL UNIT RESET"
