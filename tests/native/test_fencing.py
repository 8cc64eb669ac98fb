"""A host that another one has taken the LUN from: nothing of it reaches the medium any more, sent or not."""

import errno
import json
import os
import signal
import threading
from contextlib import suppress
from functools import partial

import pytest

from tests.native.host import Host
from tests.native.site import KEYS, Site
from tests.native.test_procedures import opened, wait_until_free

BLOCK = 4096
OLD, GHOST, NEW = (bytes([letter]) * BLOCK for letter in b"ogn")
JOIN_LIMIT_S = 60.0


class Writer(threading.Thread):
    """One write, whose end may be long in coming; ``error`` is its errno then, 0: it was written."""

    def __init__(self, fd: int, data: bytes, offset_bytes: int) -> None:
        super().__init__(daemon=True)
        self.error: int | None = None
        self._do = partial(os.pwrite, fd, data, offset_bytes)
        self.start()

    def run(self) -> None:
        try:
            self._do()
        except OSError as error:
            self.error = error.errno
        else:
            self.error = 0

    def ended(self) -> int | None:
        self.join(JOIN_LIMIT_S)
        return self.error


def error_of_a_write(fd: int, data: bytes, offset_bytes: int) -> int | None:
    return Writer(fd, data, offset_bytes).ended()


def daemon_of(host: Host) -> int:
    [daemon] = json.loads(host.command("status", "--json"))["daemons"]
    return int(daemon["pid"])


DIRECT = os.O_RDWR | os.O_DSYNC


def test_the_old_owner_gets_ebade_for_good_and_a_new_open_is_refused(site: Site) -> None:
    with opened(site.a, flags=DIRECT) as old:
        assert error_of_a_write(old, OLD, 0) == 0
        with opened(site.b, "forced", DIRECT) as new:
            assert error_of_a_write(new, NEW, 0) == 0
            assert [error_of_a_write(old, GHOST, 0) for _ in range(3)] == [errno.EBADE] * 3
            with pytest.raises(OSError, match="Input/output error"), opened(site.a):
                pass
            assert site.medium(0, BLOCK) == NEW
        wait_until_free(site)
        assert error_of_a_write(old, GHOST, 0) == errno.EBADE
    with opened(site.a, flags=DIRECT) as again:
        assert os.pread(again, BLOCK, 0) == NEW
    wait_until_free(site)


@pytest.mark.hazard(1)
def test_a_frozen_owner_writes_nothing_when_it_wakes(site: Site) -> None:
    """SIGSTOP is what a paused virtual machine looks like: it wakes, and goes on where it was."""
    with opened(site.a, flags=DIRECT) as old:
        assert error_of_a_write(old, OLD, BLOCK) == 0
        pid = daemon_of(site.a)
        os.kill(pid, signal.SIGSTOP)
        try:
            ghost = Writer(old, GHOST, BLOCK)
            with opened(site.b, "forced", DIRECT) as new:
                assert error_of_a_write(new, NEW, BLOCK) == 0
                os.kill(pid, signal.SIGCONT)
                assert ghost.ended() == errno.EBADE
                assert site.medium(BLOCK, BLOCK) == NEW
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    wait_until_free(site)


@pytest.mark.hazard(2, 14)
def test_a_session_made_anew_does_not_let_the_old_owner_back_in(site: Site) -> None:
    with opened(site.a, flags=DIRECT) as old:
        assert error_of_a_write(old, OLD, 0) == 0
        for cable in site.cables["a"]:
            cable.freeze()
        with opened(site.b, "forced", DIRECT) as new:
            assert error_of_a_write(new, NEW, 0) == 0
            for cable in site.cables["a"]:
                cable.pull()
                cable.plug()
            assert error_of_a_write(old, GHOST, 0) == errno.EBADE
            keys = site.a.command("persist", "read-keys", site.tgtd.url())
            assert f"0x{KEYS['a']:016x}" not in keys
            assert site.medium(0, BLOCK) == NEW
    wait_until_free(site)
