"""Builds `mpio_fuse.transport.iscsi._libiscsi`, the cffi (API mode) binding to libiscsi.

setuptools runs this file by its path (see ``setup.py``).  The C lies beside it: ``session.c`` uses libiscsi, ``wire.c``
stands between libiscsi and its socket; both begin with what they are for.
"""

from pathlib import Path

from cffi import FFI

DECLARATIONS = """
#define MPIO_DEPTH ...
#define MPIO_CDB_BYTES ...
#define MPIO_LOST ...
#define MPIO_WANTS_WRITE ...
#define MPIO_MORE ...
#define SCSI_XFER_NONE ...
#define SCSI_XFER_READ ...
#define SCSI_XFER_WRITE ...

struct mpio_answer {
    int32_t slot;
    int32_t host_status;
    uint32_t residual_bytes;
    uint8_t status;
    uint8_t sense_bytes;
    uint8_t sense[...];
    ...;
};

struct mpio_session {
    int fd;
    int login;
    int login_status;
    uint32_t segment_bytes, first_burst_bytes, max_burst_bytes;
    uint32_t pings_out;
    int in_flight;
    int listing;
    char *targets;
    size_t targets_bytes;
    int good_count;
    uint8_t good[...];
    int answer_count;
    struct mpio_answer answers[...];
    char error[...];
    ...;
};

struct mpio_session *mpio_open(const char *initiator_name, const char *target_name, uint32_t isid_random,
                               uint32_t isid_qualifier, int lun, int wants_digest);
void mpio_authenticate(struct mpio_session *session, const char *user, const char *password,
                       const char *target_user, const char *target_password);
int mpio_connect(struct mpio_session *session, const char *portal);
int mpio_pump(struct mpio_session *session, int is_readable, int is_connecting);
int mpio_submit(struct mpio_session *session, int index, const uint8_t *cdb, int cdb_bytes, int direction,
                void *data, uint32_t data_bytes);
int mpio_abort(struct mpio_session *session, int index);
int mpio_reset(struct mpio_session *session);
int mpio_reset_response(struct mpio_session *session);
int mpio_ping(struct mpio_session *session);
int mpio_list_targets(struct mpio_session *session);
int64_t mpio_silent_ms(struct mpio_session *session);
int mpio_unacknowledged_ms(struct mpio_session *session);
const char *mpio_target_address(struct mpio_session *session);
void mpio_close(struct mpio_session *session);
"""

_HERE = Path(__file__).resolve().parent
SOURCE = "\n".join((_HERE / name).read_text() for name in ("session.h", "wire.c", "session.c"))

ffibuilder = FFI()
ffibuilder.cdef(DECLARATIONS)
ffibuilder.set_source("mpio_fuse.transport.iscsi._libiscsi", SOURCE, libraries=["iscsi"])

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
