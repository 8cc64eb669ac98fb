# What mypy knows of the extension module that build.py makes; kept beside its declarations.
from typing import Any, Protocol

class _Lib(Protocol):
    MPIO_DEPTH: int
    MPIO_CDB_BYTES: int
    MPIO_LOST: int
    MPIO_WANTS_WRITE: int
    MPIO_MORE: int
    SCSI_XFER_NONE: int
    SCSI_XFER_READ: int
    SCSI_XFER_WRITE: int

    def mpio_open(
        self,
        initiator_name: bytes,
        target_name: Any,
        isid_random: int,
        isid_qualifier: int,
        lun: int,
        wants_digest: int,
    ) -> Any: ...
    def mpio_authenticate(
        self,
        session: Any,
        user: bytes,
        password: bytes,
        target_user: bytes,
        target_password: bytes,
    ) -> None: ...
    def mpio_connect(self, session: Any, portal: bytes) -> int: ...
    def mpio_pump(self, session: Any, is_readable: int, is_connecting: int) -> int: ...
    def mpio_submit(
        self,
        session: Any,
        index: int,
        cdb: bytes,
        cdb_bytes: int,
        direction: int,
        data: Any,
        data_bytes: int,
    ) -> int: ...
    def mpio_abort(self, session: Any, index: int) -> int: ...
    def mpio_reset(self, session: Any) -> int: ...
    def mpio_reset_response(self, session: Any) -> int: ...
    def mpio_ping(self, session: Any) -> int: ...
    def mpio_list_targets(self, session: Any) -> int: ...
    def mpio_silent_ms(self, session: Any) -> int: ...
    def mpio_unacknowledged_ms(self, session: Any) -> int: ...
    def mpio_target_address(self, session: Any) -> Any: ...
    def mpio_close(self, session: Any) -> None: ...

ffi: Any
lib: _Lib
