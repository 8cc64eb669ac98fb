import errno
import io
import json
import logging
import os
from collections.abc import Iterator

import pytest
import structlog

from mpio_fuse.daemon import logs


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(autouse=True)
def _root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_programs_read_one_json_object_a_line(stream: io.StringIO) -> None:
    logs.configure("INFO", json=True, stream=stream)
    structlog.get_logger("mpio_fuse.device").info(
        "underpath up", lun="naa.6001", underpath="/dev/sg3"
    )
    record = json.loads(stream.getvalue())
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "event": "underpath up",
        "level": "info",
        "logger": "mpio_fuse.device",
        "lun": "naa.6001",
        "underpath": "/dev/sg3",
    }


def test_people_read_a_line_without_escapes_when_it_is_no_terminal(stream: io.StringIO) -> None:
    logs.configure("INFO", json=False, stream=stream)
    structlog.get_logger("mpio_fuse.device").info("underpath up", lun="naa.6001")
    [line] = stream.getvalue().splitlines()
    assert "underpath up" in line
    assert "lun=naa.6001" in line
    assert "\x1b" not in line


def test_a_record_below_the_level_goes_nowhere(stream: io.StringIO) -> None:
    logs.configure(logging.INFO, json=True, stream=stream)
    structlog.get_logger("mpio_fuse").debug("command sent")
    logging.getLogger("trio").debug("tick")
    assert stream.getvalue() == ""


def test_a_library_that_logs_the_standard_way_is_rendered_alike(stream: io.StringIO) -> None:
    logs.configure("INFO", json=True, stream=stream)
    logging.getLogger("pyfuse3").info("handled %d", 3, extra={"lun": "naa.6001"})
    record = json.loads(stream.getvalue())
    assert (record["event"], record["level"], record["logger"]) == ("handled 3", "info", "pyfuse3")
    assert record["lun"] == "naa.6001"


def test_a_value_json_does_not_know_is_shown_not_fatal(stream: io.StringIO) -> None:
    logs.configure("INFO", json=True, stream=stream)
    structlog.get_logger("mpio_fuse").info("sense", bytes_received=b"\x06\x2a")
    assert json.loads(stream.getvalue())["bytes_received"] == repr(b"\x06\x2a")


@pytest.mark.expects_log("procedure failed")
def test_an_exception_stays_one_json_line(stream: io.StringIO) -> None:
    logs.configure("INFO", json=True, stream=stream)
    try:
        raise OSError(5, "gone")
    except OSError:
        structlog.get_logger("mpio_fuse").exception("procedure failed")
    [line] = stream.getvalue().splitlines()
    assert json.loads(line)["exception"][0]["exc_type"] == "OSError"


def test_the_last_configuration_counts_and_other_handlers_stay(stream: io.StringIO) -> None:
    foreign = logging.NullHandler()
    logging.getLogger().addHandler(foreign)
    logs.configure("INFO", json=True, stream=io.StringIO())
    logs.configure("INFO", json=True, stream=stream)
    structlog.get_logger("mpio_fuse").info("once")
    assert len(stream.getvalue().splitlines()) == 1
    assert foreign in logging.getLogger().handlers


class FullDisk(io.StringIO):
    """A stream that has no room while ``is_full``."""

    is_full = True

    def flush(self) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.expects_log("log could not be written")
def test_a_log_that_cannot_be_written_is_remembered_until_it_can_be() -> None:
    stream = FullDisk()
    logs.configure("INFO", json=True, stream=stream)
    assert logs.trouble() is None
    log = structlog.get_logger("mpio_fuse")
    log.info("one")
    log.info("two")
    told = logs.trouble()
    assert told is not None
    assert (told.problem, told.records) == ("No space left on device", 2)
    stream.is_full = False
    log.info("three")
    assert logs.trouble() is None
    record = json.loads(stream.getvalue().splitlines()[-1])
    assert (record["event"], record["cause"], record["records"]) == (
        "log could not be written",
        "No space left on device",
        2,
    )


def test_an_unknown_level_is_an_error(stream: io.StringIO) -> None:
    with pytest.raises(ValueError, match="LOUD"):
        logs.configure("LOUD", json=True, stream=stream)
