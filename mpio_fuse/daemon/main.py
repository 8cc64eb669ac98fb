"""The daemon: serves the LUNs of one mountpoint until it is unmounted or told to stop.

Theory of operation
-------------------
Starting and stopping are one nest of scopes, so that whatever fails, everything made before it is taken back, in
the reverse order::

    lock                    no second daemon for this mountpoint
      devices               discovered, claimed, registered (Figure 5)   ... unregistered (Figure 6), claims given up
        mount               usable                                       ... detached; programs' requests fail
          requests          served                                       ... those under way end, or are cut off

There is one way to stop: the session with the kernel ends.  umount(8) ends it by itself, when nobody uses the tree; a
signal or a request detaches the tree first (while requests are still served, because dirty pages are
written then), lets requests under way finish for a bounded time, and ends it.  What is still open after that is
closed by us, which flushes and releases.

The control socket outlives all of that but the lock, so that ``unmount`` can answer once all is released.
"""

import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import attrs
import pyfuse3
import structlog
import trio

from mpio_fuse.daemon import control_server, kernel, logs, mountpoint, tuning
from mpio_fuse.daemon.config import Config
from mpio_fuse.daemon.control import (
    Endpoint,
    Lock,
    daemon_pid,
    endpoint,
    make_run_directory,
    using_run_directory,
)
from mpio_fuse.daemon.lab import Instruments
from mpio_fuse.daemon.lun_requests import AskedDevice, answer_for
from mpio_fuse.daemon.readiness import Readiness
from mpio_fuse.daemon.report import log_report, lun_report, retained_report, users
from mpio_fuse.daemon.single_path_words import unprotected
from mpio_fuse.daemon.stopping import Stopping, watch_signals
from mpio_fuse.device.snapshot import DeviceSnapshot
from mpio_fuse.errors import MpioError, UsageError
from mpio_fuse.fs.filesystem import FileSystem
from mpio_fuse.fs.namespace import Namespace
from mpio_fuse.fs.operations import (
    MAXIMUM_TASKS,
    MINIMUM_IDLE_TASKS,
    Operations,
    mount_options,
)
from mpio_fuse.fs.request_loop import RequestLoop
from mpio_fuse.fs.served import ServedDevice
from mpio_fuse.scsi.reservation_key import ReservationKey

log = structlog.get_logger(__name__)

DETACHED_S = 1.0
"""For so long after its last reference was given up, a session may take to end."""


class MountedDevice(ServedDevice, AskedDevice, Protocol):
    """A device that a daemon serves, shows the state of, and asks on behalf of people."""


class AskedNodes(Protocol):
    """Takes device nodes in and out while they are mounted (`mpio_fuse.daemon.nodes`)."""

    async def add(self, device_node: str, lun: str | None = None) -> str: ...

    async def remove(self, device_node: str, lun: str | None = None) -> str: ...


class Assembly(Protocol):
    """Devices ready to be served, and what had to be left out (`mpio_fuse.daemon.assemble`)."""

    @property
    def devices(self) -> Sequence[MountedDevice]: ...

    @property
    def left_out(self) -> Sequence[MpioError]: ...

    @property
    def warnings(self) -> Sequence[str]: ...

    @property
    def nodes(self) -> AskedNodes: ...

    async def watch(self) -> None: ...

    async def aclose(self) -> list[Exception]: ...


Assemble = Callable[[Sequence[str], Config, ReservationKey], Awaitable[Assembly]]


@attrs.frozen
class Plan:
    """What one daemon is to do.

    ``nodes`` empty: all this host has.  ``log_file``: where the log goes; None: stderr.  ``has_brief_log``: it is to be
    removed when all has ended well.  ``instruments`` are around its transports, which is for ``assemble`` to do.
    """

    mountpoint: Path
    nodes: tuple[str, ...]
    config: Config
    key: ReservationKey
    log_file: Path | None = None
    has_brief_log: bool = False
    instruments: Instruments = attrs.Factory(Instruments)


def run(plan: Plan, assemble: Assemble, readiness: Readiness) -> None:
    """Serve until stopped.

    Raises:
        MpioError: it cannot be served, or was not ended in order.
    """
    make_run_directory()
    mountpoint.require_fuse()
    place = endpoint(plan.mountpoint)
    lock = Lock.take(place, plan.mountpoint)
    if lock is None:
        what = f"mountpoint {plan.mountpoint}: busy, served by process {daemon_pid(place)}"
        raise MpioError(what, hint="unmount it first, or choose another directory")
    try:
        mountpoint.prepare(plan.mountpoint)
        tuning.protect_process()
        trio.run(_Daemon(plan, assemble, readiness, place).serve)
        if plan.log_file is not None and plan.has_brief_log:
            with using_run_directory(plan.log_file.parent):
                plan.log_file.unlink(missing_ok=True)
    finally:
        lock.release()


@attrs.define(eq=False)
class _Daemon:
    """One daemon while it runs.

    ``finished`` is set once everything is released, but for ``retained``: the LUNs whose reservations stay.
    """

    plan: Plan
    assemble: Assemble
    readiness: Readiness
    place: Endpoint
    stopping: Stopping = attrs.Factory(Stopping)
    finished: trio.Event = attrs.Factory(trio.Event)
    failures: list[Exception] = attrs.Factory(list)
    retained: list[DeviceSnapshot] = attrs.Factory(list)
    started_ns: int = attrs.Factory(time.time_ns)
    device: str | None = None

    async def serve(self) -> None:
        """Everything between taking the lock and giving it back."""
        plan = self.plan
        async with trio.open_nursery() as nursery:
            await nursery.start(watch_signals, self.stopping)
            assembly: Assembly | None = None
            with self.stopping.startup:
                assembly = await self.assemble(plan.nodes, plan.config, plan.key)
            if assembly is None:
                raise MpioError("told to stop before anything was mounted")
            await self._serve_assembly(assembly)
            nursery.cancel_scope.cancel()
        if self.failures:
            raise ExceptionGroup("not ended in order", self.failures)

    async def _serve_assembly(self, assembly: Assembly) -> None:
        """From devices that are ready to devices that are released."""
        fs: FileSystem | None = None
        async with trio.open_nursery() as nursery:
            try:
                fs = self._filesystem(assembly)
                answer = _Answers(self, assembly, fs).answer
                listener = control_server.listen(self.place)
                nursery.start_soon(control_server.serve, listener, answer, self.finished)
                self._warn(assembly)
                await self._mount(fs, assembly.watch)
            finally:
                await self._release(assembly, fs)

    def _warn(self, assembly: Assembly) -> None:
        """Tell whoever mounts, and the log, what they should know before they trust the tree."""
        for error in assembly.left_out:
            self.readiness.warn(f"left out: {error}")  # logged where it happened
        for text in self.plan.instruments.warnings():
            self.readiness.warn(text)
        of_single_paths = (unprotected(device.snapshot()) for device in assembly.devices)
        for text in (*filter(None, of_single_paths), *assembly.warnings):
            self.readiness.warn(text)
            log.warning("mounted all the same", cause=text)

    def _filesystem(self, assembly: Assembly) -> FileSystem:
        config = self.plan.config
        return FileSystem(
            Namespace(assembly.devices),
            ownership=config.ownership,
            time_ns=self.started_ns,
            force_group=config.force_group,
            flag_options=config.open_flags,
            default_options={
                device.name: config.lun(device.snapshot().wwid).open for device in assembly.devices
            },
        )

    async def _mount(self, fs: FileSystem, watch: Callable[[], Awaitable[None]]) -> None:
        """Mount, serve, and see that nothing is mounted any more."""
        _init(fs, self.plan)
        try:
            mount = mountpoint.mounted_at(self.plan.mountpoint)
            self.device = mount.device if mount else None
            await self._serve_requests(fs, watch)
        finally:
            # Requests that nobody answers any more fail from here on, so that detaching waits for none of them.
            pyfuse3.close(unmount=False)
            self.detach(lazily=True)

    async def _serve_requests(self, fs: FileSystem, watch: Callable[[], Awaitable[None]]) -> None:
        serving = trio.CancelScope()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                nursery.start_soon(fs.drop_stale_caches)
                nursery.start_soon(self._end_when_asked, fs, serving)
                nursery.start_soon(self._greet)
                with serving:
                    await pyfuse3.main(MINIMUM_IDLE_TASKS, MAXIMUM_TASKS)
                nursery.cancel_scope.cancel()
        except* OSError as group:
            self.failures.append(MpioError(f"the FUSE session broke: {group.exceptions[0]}"))
        if serving.cancelled_caught:
            log.warning("requests cut off", timeout_s=self.plan.config.timeouts.stop_s)

    async def _greet(self) -> None:
        """Say that the tree is usable, once it is: the first request ends the kernel's negotiation with us."""
        try:
            await trio.to_thread.run_sync(os.statvfs, self.plan.mountpoint, abandon_on_cancel=True)
        except OSError as error:
            log.warning("the tree cannot be reached", cause=error.strerror)
        if self.device:
            tuning.widen_mount(self.device)  # that negotiation would have undone it
        log.info("mounted", mountpoint=str(self.plan.mountpoint))
        if trouble := logs.trouble():
            self.readiness.warn(f"log {self.plan.log_file}: cannot be written: {trouble.problem}")
        self.readiness.ready()

    async def _end_when_asked(self, fs: FileSystem, serving: trio.CancelScope) -> None:
        """The stop a signal or a request asks for."""
        await self.stopping.requested.wait()
        fs.drain()
        for file in fs.namespace.files:
            file.device.stop_waiting()
        stop_s = self.plan.config.timeouts.stop_s
        with trio.move_on_after(stop_s):
            await trio.to_thread.run_sync(self._detach_served, abandon_on_cancel=True)
        serving.deadline = trio.current_time() + stop_s
        pyfuse3.terminate()

    def _detach_served(self) -> None:
        """In a thread, while requests are served: dirty pages are written first, also of mapped files in use."""
        try:
            self.detach(lazily=False)
        except OSError:
            with contextlib.suppress(
                OSError
            ):  # the error is for who wrote the pages: fsync(2) tells them
                kernel.syncfs(str(self.plan.mountpoint))
            self.detach(lazily=True)

    def detach(self, *, lazily: bool) -> None:
        """Unmount, if what is mounted there is still ours.

        Raises:
            OSError: EBUSY, unless ``lazily``.
        """
        if self.is_mounted():
            mountpoint.unmount(self.plan.mountpoint, lazily=lazily)

    def is_mounted(self) -> bool:
        """Whether our tree is at the mountpoint, and not another on top of it, or nothing any more."""
        mount = mountpoint.mounted_at(self.plan.mountpoint)
        return mount is not None and mount.device == self.device

    async def _release(self, assembly: Assembly, fs: FileSystem | None) -> None:
        """Close what is still open, release, unregister."""
        with trio.CancelScope(shield=True):
            failures = await fs.aclose() if fs else []
            shown = [device.snapshot() for device in assembly.devices]
            self.retained += [one for one in shown if one.retention is not None]
            failures += await assembly.aclose()
        for failure in failures:
            log.error("not released in order", cause=str(failure))
        self.failures += failures
        log.info("ended", mountpoint=str(self.plan.mountpoint))
        self.finished.set()


def _init(fs: FileSystem, plan: Plan) -> None:
    try:
        options = mount_options(allow_other=plan.config.allow_other)
        pyfuse3.trio = RequestLoop()  # type: ignore[attr-defined] # looked up there, as its asyncio support does
        pyfuse3.init(Operations(fs), str(plan.mountpoint), options)
    except RuntimeError as error:
        what = f"mountpoint {plan.mountpoint}: cannot be mounted ({error})"
        hint = (
            "mount as root, or set user_allow_other in /etc/fuse.conf or allow_other = false here"
        )
        raise MpioError(what, hint=hint if plan.config.allow_other else None) from error


@attrs.frozen
class _Answers:
    """What the control socket is answered."""

    daemon: _Daemon
    assembly: Assembly
    fs: FileSystem

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request.

        Raises:
            MpioError: it cannot be done.
        """
        match request:
            case {"request": "status"}:
                return {"ok": True, "status": self._status()}
            case {"request": "unmount", "how": "idle" | "lazy" | "force" as how}:
                return await self._unmount(how)
            case {"request": "underpath", "action": "add", "lun": str(lun), "device": str(device)}:
                return {"ok": True, "lun": await self.assembly.nodes.add(device, lun)}
            case {
                "request": "underpath",
                "action": "remove",
                "lun": str(lun),
                "device": str(device),
            }:
                return {"ok": True, "lun": await self.assembly.nodes.remove(device, lun)}
            case {"request": "fault"}:
                return self.daemon.plan.instruments.answer(request)
        reply = await answer_for(self.assembly.devices, request)
        if reply is None:
            raise UsageError("unknown request", hint="is this daemon of another version?")
        return reply

    def _status(self) -> dict[str, Any]:
        plan = self.daemon.plan
        return {
            "pid": os.getpid(),
            "mountpoint": str(plan.mountpoint),
            "started": self.daemon.started_ns / 1e9,
            "key": str(plan.key),
            "luns": [
                lun_report(device.snapshot(), file, self.fs.open_files)
                for file in self.fs.namespace.files
                for device in self.assembly.devices
                if device is file.device
            ],
            "left_out": [str(error) for error in self.assembly.left_out],
            "warnings": list(self.assembly.warnings),
            "log": log_report(plan.log_file, logs.trouble()),
            **plan.instruments.report(),
        }

    async def _unmount(self, how: str) -> dict[str, Any]:
        if how == "idle" and self.fs.open_files and not self.daemon.is_mounted():
            what = f"{self.daemon.plan.mountpoint}: detached already; {users(self.fs.open_files)}"
            hint = "the daemon ends with the last close, or now with --force"
            raise MpioError(what, hint=hint)
        self.fs.drain()
        if how == "force":
            self.daemon.stopping.request()
        else:
            await self._unmount_in_thread(lazily=how == "lazy")
            may_wait = how == "idle" or not self.fs.open_files
            if not (may_wait and await self._ends_by_itself()):
                if self.fs.open_files:
                    return {"ok": True, "open": len(self.fs.open_files), "problems": []}
                self.daemon.stopping.request()
        await self.daemon.finished.wait()
        return {
            "ok": True,
            "open": 0,
            "problems": [str(failure) for failure in self.daemon.failures],
            "retained": retained_report(self.daemon.retained),
        }

    async def _ends_by_itself(self) -> bool:
        """Whether the kernel ends the session, as it does with the last reference to what was mounted.

        A mount namespace made meanwhile (a container, a service with PrivateMounts) may have a copy of the mount, and
        keeps it when it is unmounted here.
        """
        with trio.move_on_after(DETACHED_S):
            await self.daemon.finished.wait()
        return self.daemon.finished.is_set()

    async def _unmount_in_thread(self, *, lazily: bool) -> None:
        try:
            await trio.to_thread.run_sync(
                partial(self.daemon.detach, lazily=lazily), abandon_on_cancel=True
            )
        except OSError:
            self.fs.drain(is_draining=False)
            what = f"{self.daemon.plan.mountpoint}: busy, {users(self.fs.open_files)}"
            hint = "end that first, or use --lazy or --force"
            raise MpioError(what, hint=hint) from None
