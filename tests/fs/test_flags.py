"""The table of open(2) flags."""

import os

import pytest

from mpio_fuse.errors import UsageError
from mpio_fuse.fs.flags import FLAG_OPTIONS, open_request
from mpio_fuse.reserve.fig07_decision import OpenOption


@pytest.mark.parametrize(
    ("flag", "option"),
    [
        (os.O_NONBLOCK, OpenOption.NO_RESERVE),
        (os.O_NOATIME, OpenOption.RETAIN_RESERVATION),
        (os.O_NOFOLLOW, OpenOption.SINGLE),
        (os.O_ASYNC, OpenOption.FORCED_OPEN),
    ],
)
def test_each_option_has_its_flag(flag: int, option: OpenOption) -> None:
    assert open_request(os.O_RDWR | flag).options == option


def test_options_add_up() -> None:
    options = open_request(os.O_ASYNC | os.O_NOATIME).options
    assert options == OpenOption.FORCED_OPEN | OpenOption.RETAIN_RESERVATION


@pytest.mark.parametrize("flag", [os.O_TRUNC, os.O_DIRECT, os.O_RDWR, os.O_WRONLY, os.O_LARGEFILE])
def test_other_flags_name_no_option(flag: int) -> None:
    assert open_request(flag).options == OpenOption.DEFAULT


def test_no_two_flags_share_a_bit() -> None:
    seen = 0
    for flag in FLAG_OPTIONS:
        assert not seen & flag
        seen |= flag


@pytest.mark.parametrize(("flag", "durable"), [(os.O_SYNC, True), (os.O_DSYNC, True), (0, False)])
def test_o_sync_and_o_dsync_ask_for_durable_writes(flag: int, *, durable: bool) -> None:
    assert open_request(os.O_WRONLY | flag).durable is durable


@pytest.mark.parametrize(("flag", "uncached"), [(os.O_DIRECT, True), (os.O_SYNC, False)])
def test_o_direct_asks_to_go_past_the_page_cache(flag: int, *, uncached: bool) -> None:
    assert open_request(os.O_RDWR | flag).uncached is uncached


def test_append_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be appended to"):
        open_request(os.O_WRONLY | os.O_APPEND)


def test_the_table_can_be_another() -> None:
    table = {os.O_DIRECT: OpenOption.SINGLE}
    assert open_request(os.O_DIRECT | os.O_ASYNC, table).options == OpenOption.SINGLE
