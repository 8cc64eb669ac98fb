/* One iSCSI session as seen by session.c (which uses libiscsi) and wire.c (which stands between it and its socket). */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#define MPIO_DEPTH 64
#define MPIO_SENSE_BYTES 252
#define MPIO_CDB_BYTES 16
#define MPIO_ERROR_BYTES 256
#define MPIO_AHEAD_BYTES (128 << 10)
#define MPIO_OUT_BYTES (256 << 10)
#define MPIO_CAPTURE_BYTES (64 << 10)
#define MPIO_SEGMENT_BYTES (256 << 10) /* libiscsi's MaxRecvDataSegmentLength: what a target may send in one PDU */
#define MPIO_HEADER_BYTES 48
#define MPIO_DIGEST_BYTES 4

/* How the layers below ended a command: the kernel's DID_* codes (mpio_fuse.scsi.command.HostStatus). */
enum { HOST_OK = 0, HOST_TIME_OUT = 3, HOST_ERROR = 7, HOST_RESET = 8 };

enum { MPIO_LOST = 1, MPIO_WANTS_WRITE = 2, MPIO_MORE = 4 };

enum { LOGIN_UNDER_WAY = 0, LOGIN_DONE = 1, LOGIN_REFUSED = 2, LOGIN_REDIRECTED = 3 };

enum { TASK_MANAGEMENT_IDLE = 0, TASK_MANAGEMENT_SENT = 1, TASK_MANAGEMENT_ANSWERED = 2 };

struct mpio_slot {
    struct scsi_task *task; /* NULL: the slot is free */
    struct scsi_iovec data;
    uint64_t sequence;      /* which of this session's commands and resets it was, from 1 */
    uint32_t data_bytes;
    int direction;
    uint32_t received_bytes; /* of Data-In, in order, from the first byte on */
    uint32_t next_r2t_offset;
    uint32_t solicited_bytes; /* asked for by R2T and not on the wire yet: libiscsi still points into the task */
    uint32_t residual_bytes;  /* as the target claims it */
    int status;
    int host_status;
    int abort_state;
    uint8_t abort_response;
    uint8_t is_sent;
    uint8_t has_ended;
    uint8_t has_failed; /* the target says that it could not (RFC 7143 11.4.3), whatever the status is */
    uint8_t sense_bytes;
    uint8_t sense[MPIO_SENSE_BYTES];
};

struct mpio_answer { /* of a command that did not plainly succeed */
    int32_t slot;
    int32_t host_status;
    uint32_t residual_bytes;
    uint8_t status;
    uint8_t sense_bytes;
    uint8_t sense[MPIO_SENSE_BYTES];
};

struct mpio_wire {
    uint8_t header[MPIO_HEADER_BYTES + MPIO_DIGEST_BYTES];
    uint32_t header_got, header_bytes;
    uint32_t data_left; /* of the PDU whose header is above, with its padding */
    uint32_t capture_got;
    size_t ahead_begin, ahead_end; /* read from the socket, not yet asked for by libiscsi */
    size_t out_begin, out_end;     /* given by libiscsi, not yet taken by the socket */
    uint32_t payload_left;         /* of the PDU that libiscsi is writing, with its padding */
    int out_slot;                  /* the slot whose Data-Out that payload is, or -1 */
    int wants_write;
    uint32_t pings_in; /* the target's NOP-Ins that want an answer, since we last had nothing to write */
    uint8_t ahead[MPIO_AHEAD_BYTES];
    uint8_t out[MPIO_OUT_BYTES];
    uint8_t capture[MPIO_CAPTURE_BYTES];
};

struct mpio_session {
    struct iscsi_context *iscsi;
    int fd;
    int lun;
    int is_connected;
    int login;        /* LOGIN_* */
    int login_status; /* class and detail of the last login response (RFC 7143 11.13.5) */
    int is_mutual, wants_digest;
    int proved;         /* bit 0: CHAP_N came, bit 1: CHAP_R came; libiscsi compares what comes, but lets them be left out */
    int digest_refused;
    uint32_t segment_bytes, first_burst_bytes, max_burst_bytes; /* what the target says it takes, 0: it did not say */
    int has_failed;
    uint32_t pings_out;
    int64_t heard_ms;
    uint64_t sequence;
    uint64_t reset_sequence;
    int reset_state;
    uint8_t reset_response;
    int in_flight;
    int is_unsettled; /* something has ended that is not given back */
    int listing; /* SendTargets: 0 under way, 1 done, 2 refused */
    char *targets;
    size_t targets_bytes;
    uint32_t itts[MPIO_DEPTH]; /* of the slots, valid where the slot has a task */
    struct mpio_slot slots[MPIO_DEPTH];
    int good_count;
    uint8_t good[MPIO_DEPTH]; /* the slots of those that ended with GOOD and all their data */
    int answer_count;
    struct mpio_answer answers[MPIO_DEPTH];
    char error[MPIO_ERROR_BYTES];
    struct mpio_wire wire;
};

static void mpio_fail(struct mpio_session *session, const char *why);
