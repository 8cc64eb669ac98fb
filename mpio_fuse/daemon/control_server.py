"""The daemon's end of the control socket.

Replies to ``status`` come from memory and never wait for a device.  A client that says nothing, says too
much, or goes away costs one task for a while and nothing else.
"""

import errno
import json
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import structlog
import trio

from mpio_fuse.daemon.control import Endpoint, using_run_directory
from mpio_fuse.errors import MpioError

log = structlog.get_logger(__name__)

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

MAXIMUM_REQUEST_BYTES = 4096
REQUEST_TIMEOUT_S = 10.0
LAST_REPLIES_TIMEOUT_S = 2.0
CLIENTS = 32


def listen(place: Endpoint) -> trio.SocketListener:
    """Bind the control socket; for the user who mounted, and root, only.

    Raises:
        MpioError: the socket cannot be made.
    """
    with using_run_directory(place.socket.parent):
        place.socket.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    previous = os.umask(0o177)
    try:
        with using_run_directory(place.socket.parent):
            listening.bind(str(place.socket))
            listening.listen(CLIENTS)
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(previous)
    return trio.SocketListener(trio.socket.from_stdlib_socket(listening))


async def serve(listener: trio.SocketListener, answer: Answer, closing: trio.Event) -> None:
    """Answer requests until ``closing``; those under way then still get their replies, if they are quick."""
    limit = trio.CapacityLimiter(CLIENTS)

    async def handle(stream: trio.SocketStream) -> None:
        async with stream, limit:
            await _converse(stream, answer)

    async with trio.open_nursery() as handlers:
        async with trio.open_nursery() as accepting:
            serving = partial(trio.serve_listeners, handle, [listener], handler_nursery=handlers)
            accepting.start_soon(serving)
            await closing.wait()
            accepting.cancel_scope.cancel()
        handlers.cancel_scope.deadline = trio.current_time() + LAST_REPLIES_TIMEOUT_S


async def _converse(stream: trio.SocketStream, answer: Answer) -> None:
    """One request, one reply."""
    try:
        with trio.fail_after(REQUEST_TIMEOUT_S):
            request = _request(await _line(stream))
        reply = await answer(request)
    except MpioError as error:
        reply = {"ok": False, "error": _where_and_what(error), "hint": error.hint}
    except trio.TooSlowError:
        reply = {"ok": False, "error": "no request came"}
    except Exception:
        log.exception("control request failed unexpectedly")
        reply = {"ok": False, "error": "unexpected error", "hint": "see the daemon's log"}
    try:
        await stream.send_all(json.dumps(reply).encode() + b"\n")
    except (trio.BrokenResourceError, OSError):
        log.debug("control client went away")


def _where_and_what(error: MpioError) -> str:
    return ": ".join(part for part in (error.lun, error.underpath, error.what) if part)


async def _line(stream: trio.SocketStream) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < MAXIMUM_REQUEST_BYTES:
        data = await stream.receive_some(MAXIMUM_REQUEST_BYTES)
        if not data:
            break
        line += data
    return bytes(line)


def _request(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except ValueError:
        request = None
    if not isinstance(request, dict):
        error = MpioError("not a request: one JSON object on one line")
        error.errno = errno.EINVAL
        raise error
    return request
