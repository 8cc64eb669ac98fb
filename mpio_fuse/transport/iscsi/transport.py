"""`IscsiTransport`: the transport contract on one iSCSI session, which is made anew when it is lost.

Theory of operation
-------------------
One task, `_live`, owns the session: it serves it until it is lost, then logs in again, with pauses that grow up to
``reconnect_s``, for as long as the transport is open.

The contract of `mpio_fuse.transport.contract`, as it works out here:

- *A lost session* is a completion, never `TransportGone`: what was in flight ends with TRANSPORT_DISRUPTED, of unknown
  fate; what comes while there is no session ends with NO_CONNECT at once and was not sent.
- *A new session is told once.*  The target may have forgotten this nexus' registration, and nobody would look if the
  old session had died while nothing was in flight.  Then the first command after the new login is not sent, but ends
  with TRANSPORT_DISRUPTED.  Whoever looks after the underpath looks at the reservation then, before it sends data
  again.
- *Gone* is only a transport that was closed.
- *Timeouts* are kept: a command that takes longer is aborted, see `mpio_fuse.transport.iscsi.keeper`.  Bounded by the
  abort's own time, and by the session's end if the target does not confirm it.
- *Cancellation* leaves the command to the session, which keeps its buffers and its slot until it ends.
- *Closing* keeps the session for as long as commands are stranded on it.
- *Reset* is LOGICAL UNIT RESET as a task management function.  What it took is ended with RESET here: a target does
  not answer those commands any more.
- A CDB of more than 16 bytes is refused: libiscsi cannot send it.

One thread (trio's), one run.
"""

import math

import trio

from mpio_fuse.errors import MpioError, TransportError, TransportGone, UsageError
from mpio_fuse.scsi.command import Command, Completion, HostStatus
from mpio_fuse.transport.contract import OnEnd
from mpio_fuse.transport.data_phase import data_phase_of
from mpio_fuse.transport.iscsi import native
from mpio_fuse.transport.iscsi.initiator import claim_isid, initiator_name
from mpio_fuse.transport.iscsi.keeper import Keeper
from mpio_fuse.transport.iscsi.login import Identity, log_in
from mpio_fuse.transport.iscsi.native import NativeSession
from mpio_fuse.transport.iscsi.session import DISRUPTED, Session, SessionCommand, SessionLost
from mpio_fuse.transport.iscsi.settings import IscsiSettings, configured, recalled, resolved
from mpio_fuse.transport.iscsi.url import IscsiUrl

MAX_TRANSFER_BYTES = 1 << 20
FIRST_PAUSE_S = 0.1

_CHECK = "check the link and the target"

NO_CONNECT = Completion(host_status=HostStatus.NO_CONNECT)


class IscsiTransport:
    """A `mpio_fuse.transport.contract.Transport` on iSCSI sessions, one after the other.  Made by `open_iscsi`."""

    def __init__(
        self, url: IscsiUrl, who: Identity, settings: IscsiSettings, session: NativeSession
    ) -> None:
        """Takes over a session that is logged in.  Must be called inside trio."""
        self._url = url
        self._name = url.name
        self._who = who
        self._settings = settings
        self._session = Session(session, self._note_loss)
        self._is_gone = False
        self._owes_notice = False
        self._last_loss = ""
        self._logins = 1
        self._pausing = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._live, name=f"iSCSI session of {self._name}")

    @property
    def name(self) -> str:
        return self._name

    @property
    def max_transfer_bytes(self) -> int:
        return MAX_TRANSFER_BYTES

    @property
    def max_in_flight(self) -> int:
        return native.DEPTH

    @property
    def stranded(self) -> int:
        return self._session.stranded

    @property
    def logins(self) -> int:
        """How many sessions there have been."""
        return self._logins

    @property
    def initiator(self) -> str:
        """The initiator port, as SPC writes it: name and ISID."""
        return f"{self._who.initiator_name},i,0x{self._who.isid}"

    @property
    def last_loss(self) -> str:
        """Why the last session, or login, failed; empty if none has."""
        return self._last_loss

    @property
    def last_heard_s(self) -> float:
        """How long ago the target sent something; infinite while there is no session."""
        return math.inf if self._session.has_ended else self._session.native.silent_s

    async def execute(self, command: Command) -> Completion:
        """Send one command and wait for its end.

        Raises:
            TransportGone: the transport was closed.
            TransportError: libiscsi does not take the command; nothing was sent.
            UsageError: its buffers or its CDB cannot be sent; nothing was sent.
        """
        if self._is_gone:
            raise self._gone()
        phase = data_phase_of(command, MAX_TRANSFER_BYTES)
        if len(command.cdb) > native.MAX_CDB_BYTES:
            what = f"{command.name}: a CDB of {len(command.cdb)} bytes; nothing was sent"
            raise UsageError(what, underpath=self._name, hint="libiscsi carries 16 at most")
        if self._owes_notice or self._session.has_ended:
            return await self._not_sent()
        try:
            return await self._session.execute(command, phase)
        except SessionLost:
            return await self._not_sent()
        except OSError as error:
            what = f"{command.name}: not taken by libiscsi ({error.strerror})"
            raise TransportError(what, underpath=self._name) from error

    def start(self, command: Command, on_end: OnEnd) -> SessionCommand | None:
        """Send one command without waiting; None when that cannot be, and for all that `execute` has to say."""
        session = self._session
        if self._is_gone or self._owes_notice or session.has_ended:
            return None
        try:
            phase = data_phase_of(command, MAX_TRANSFER_BYTES)
            if len(command.cdb) > native.MAX_CDB_BYTES:
                return None
            return session.start(command, phase, on_end)
        except (UsageError, SessionLost, OSError):
            return None

    async def reset_logical_unit(self) -> None:
        """LOGICAL UNIT RESET, confirmed by the target.

        Raises:
            TransportGone: the transport was closed.
            TransportError: it was not confirmed.
        """
        if self._is_gone:
            raise self._gone()
        try:
            await self._session.reset_logical_unit()
        except SessionLost:
            await trio.lowlevel.checkpoint()
            what = "LOGICAL UNIT RESET not sent: no session with the target"
            raise TransportError(what, underpath=self._name, hint=_CHECK) from None
        except TransportGone:
            raise
        except TransportError as error:
            raise TransportError(error.what, underpath=self._name, hint=_CHECK) from error

    async def aclose(self) -> None:
        """End every wait with `TransportGone`, and the session as soon as no command is left on it."""
        self._is_gone = True
        self._pausing.cancel()
        self._session.close(self._gone)
        await trio.lowlevel.checkpoint()

    async def _not_sent(self) -> Completion:
        """What a command is told that had no session, or has to hear of a new one."""
        is_notice = self._owes_notice and not self._session.has_ended
        self._owes_notice = False
        await trio.lowlevel.checkpoint()
        return DISRUPTED if is_notice else NO_CONNECT

    def _note_loss(self, was_told: bool, why: str) -> None:  # noqa: FBT001 - Session's callback
        self._last_loss = why
        self._owes_notice = not was_told

    async def _live(self) -> None:
        try:
            while not self._session.has_ended:
                await self._serve()
                if not self._is_gone:
                    with trio.CancelScope() as self._pausing:
                        await self._log_in_again()
        finally:
            self._who.isid.release()

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Keeper(self._session, self._settings).run)
            await self._session.run()
            nursery.cancel_scope.cancel()

    async def _log_in_again(self) -> None:
        pause_s = 0.0
        while not self._is_gone:
            await trio.sleep(pause_s)
            try:
                session = await log_in(self._url, self._who, self._settings)
            except MpioError as error:
                self._last_loss = error.what
                pause_s = min(max(2 * pause_s, FIRST_PAUSE_S), self._settings.reconnect_s)
            else:
                self._session = Session(session, self._note_loss)
                self._logins += 1
                return

    def _gone(self) -> TransportGone:
        return TransportGone(
            "cannot carry commands any more: it was closed",
            underpath=self._name,
            hint="open it anew",
        )


async def open_iscsi(device: str, settings: IscsiSettings | None = None) -> IscsiTransport:
    """Log in to ``iscsi://host[:port]/target/lun``.  Sends no command.

    Raises:
        UsageError: it is no such URL.
        TransportError: the login failed.
    """
    settings = settings or configured()
    url = resolved(recalled(device), settings)
    if url.target is None:
        hint = "'mpio-fuse discover' of the portal lists its targets and LUNs"
        raise UsageError("a portal, not a logical unit", underpath=url.name, hint=hint)
    name = initiator_name(settings.initiator_name)
    who = Identity(name, claim_isid(name, url.name))
    try:
        session = await log_in(url, who, settings)
    except BaseException:
        who.isid.release()
        raise
    return IscsiTransport(url, who, settings, session)
