# What mypy knows of the extension module that build.py makes; kept beside its declarations.
from typing import Any, Protocol

class _Lib(Protocol):
    MPIO_QUEUE_DEPTH: int
    MPIO_SENSE_BYTES: int
    SG_DXFER_NONE: int
    SG_DXFER_TO_DEV: int
    SG_DXFER_FROM_DEV: int

    def mpio_submit(
        self,
        fd: int,
        slot: int,
        tag: int,
        cdb: bytes,
        cdb_bytes: int,
        direction: int,
        data: Any,
        data_bytes: int,
        timeout_ms: int,
        sense: Any,
    ) -> int: ...
    def mpio_harvest(self, fd: int, out: Any, room: int) -> int: ...
    def mpio_hung_up(self, fd: int) -> int: ...
    def mpio_identify(self, fd: int, out: Any) -> int: ...
    def mpio_reserve_buffer(self, fd: int, wanted_bytes: int) -> int: ...
    def mpio_reset_logical_unit(self, fd: int) -> int: ...
    def mpio_pass_through(
        self,
        fd: int,
        cdb: bytes,
        cdb_bytes: int,
        direction: int,
        data: Any,
        data_bytes: int,
        timeout_s: int,
        sense: Any,
        out: Any,
    ) -> int: ...
    def sg_get_sense_str(
        self, leadin: bytes, sense: bytes, sense_bytes: int, raw: int, room: int, text: Any
    ) -> int: ...
    def sg_err_category_sense(self, sense: bytes, sense_bytes: int) -> int: ...
    def sg_get_category_sense_str(
        self, category: int, room: int, text: Any, verbose: int
    ) -> Any: ...

ffi: Any
lib: _Lib
