"""Builds `mpio_fuse.transport.sg._sgutils`, the cffi (API mode) binding to libsgutils2 and the sg driver.

setuptools runs this file by its path (see ``setup.py``).  The C below is as little as serves two ends: one
foreign call per step of the data path (fill a header and write it; read everything that is ready), and a
pass-through command that runs from begin to end without the interpreter's lock and without signals.
"""

from cffi import FFI

DECLARATIONS = """
#define EAGAIN ...
#define MPIO_QUEUE_DEPTH ...
#define MPIO_SENSE_BYTES ...
#define SG_DXFER_NONE ...
#define SG_DXFER_TO_DEV ...
#define SG_DXFER_FROM_DEV ...

struct mpio_completion {
    uint64_t tag;
    int32_t slot;
    int32_t residual_bytes;
    int32_t read_errno;
    uint16_t host_status;
    uint16_t driver_status;
    uint8_t status;
    uint8_t sense_bytes;
    ...;
};

struct mpio_node {
    int32_t version;
    int32_t host;
    int32_t channel;
    int32_t target;
    int32_t lun;
    int32_t scsi_type;
    int32_t max_bytes;
    int32_t max_segments;
    ...;
};

int mpio_submit(int fd, int slot, uint64_t tag, const uint8_t *cdb, int cdb_bytes, int direction,
                void *data, uint32_t data_bytes, uint32_t timeout_ms, uint8_t *sense);
int mpio_harvest(int fd, struct mpio_completion *out, int room);
int mpio_hung_up(int fd);
int mpio_identify(int fd, struct mpio_node *out);
int mpio_reserve_buffer(int fd, int wanted_bytes);
int mpio_reset_logical_unit(int fd);
int mpio_pass_through(int fd, const uint8_t *cdb, int cdb_bytes, int direction, uint8_t *data,
                      uint32_t data_bytes, int timeout_s, uint8_t *sense, struct mpio_completion *out);

int sg_get_sense_str(const char *leadin, const uint8_t *sense, int sense_bytes, bool raw, int room, char *text);
int sg_err_category_sense(const uint8_t *sense, int sense_bytes);
const char *sg_get_category_sense_str(int category, int room, char *text, int verbose);
const char *sg_pt_version(void);
"""

SOURCE = r"""
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/fs.h>
#include <scsi/sg.h>
#include <scsi/sg_lib.h>
#include <scsi/sg_pt.h>

#define MPIO_QUEUE_DEPTH SG_MAX_QUEUE
#define MPIO_SENSE_BYTES 252

/* The C library's copy of the header does not have these two; the kernel's does. */
#ifndef SG_FLAG_Q_AT_TAIL
#define SG_FLAG_Q_AT_TAIL 0x10
#endif

#ifndef SG_SCSI_RESET_NO_ESCALATE
#define SG_SCSI_RESET_NO_ESCALATE 0x100
#endif

struct mpio_completion {
    uint64_t tag;
    int32_t slot;
    int32_t residual_bytes;
    int32_t read_errno;      /* the header came, the data did not: what read(2) said */
    uint16_t host_status;
    uint16_t driver_status;
    uint8_t status;
    uint8_t sense_bytes;
};

struct mpio_node {
    int32_t version;
    int32_t host;
    int32_t channel;
    int32_t target;
    int32_t lun;
    int32_t scsi_type;
    int32_t max_bytes;
    int32_t max_segments;
};

/* Queues one command; 0 or a negated errno.  The driver has copied header, CDB and data-out when this
 * returns; it writes data-in and sense to the given places during the read(2) that takes the answer.
 * At the tail, because the driver's default puts each command before the ones already waiting. */
static int mpio_submit(int fd, int slot, uint64_t tag, const uint8_t *cdb, int cdb_bytes, int direction,
                       void *data, uint32_t data_bytes, uint32_t timeout_ms, uint8_t *sense)
{
    struct sg_io_hdr header;
    memset(&header, 0, sizeof header);
    header.interface_id = 'S';
    header.dxfer_direction = direction;
    header.cmdp = (unsigned char *)cdb;
    header.cmd_len = cdb_bytes;
    header.sbp = sense;
    header.mx_sb_len = MPIO_SENSE_BYTES;
    header.dxferp = data;
    header.dxfer_len = data_bytes;
    header.timeout = timeout_ms;
    header.flags = SG_FLAG_Q_AT_TAIL;
    header.pack_id = slot;
    header.usr_ptr = (void *)(uintptr_t)tag;
    return write(fd, &header, sizeof header) < 0 ? -errno : 0;
}

/* Takes up to `room` answers that are ready.  A count, or a negated errno when not one could be taken.
 * An answer whose data could not be copied is consumed all the same: its header is there, so it is
 * told from a read that took nothing by the interface id. */
static int mpio_harvest(int fd, struct mpio_completion *out, int room)
{
    int count = 0;
    while (count < room) {
        struct sg_io_hdr header;
        memset(&header, 0, sizeof header);
        ssize_t got = read(fd, &header, sizeof header);
        int problem = got < 0 ? errno : got == sizeof header ? 0 : EIO;
        bool answered = header.interface_id == 'S' && (got < 0 || problem == 0);
        if (!answered && problem == EINTR)
            continue;
        if (!answered)
            return count ? count : problem == EAGAIN ? 0 : -(problem ? problem : EIO);
        struct mpio_completion *answer = &out[count++];
        answer->tag = (uintptr_t)header.usr_ptr;
        answer->slot = header.pack_id;
        answer->residual_bytes = header.resid;
        answer->read_errno = problem;
        answer->host_status = header.host_status;
        answer->driver_status = header.driver_status;
        answer->status = header.status;
        answer->sense_bytes = header.sb_len_wr;
    }
    return count;
}

/* Whether the device behind the descriptor was deleted. */
static int mpio_hung_up(int fd)
{
    struct pollfd node = { .fd = fd, .events = POLLIN };
    return poll(&node, 1, 0) > 0 && (node.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

/* BLKSECTGET on an sg descriptor yields bytes (on a block device it yields sectors). */
static int mpio_identify(int fd, struct mpio_node *out)
{
    struct sg_scsi_id id;
    memset(&id, 0, sizeof id);
    if (ioctl(fd, SG_GET_VERSION_NUM, &out->version) < 0 || ioctl(fd, SG_GET_SCSI_ID, &id) < 0
        || ioctl(fd, BLKSECTGET, &out->max_bytes) < 0
        || ioctl(fd, SG_GET_SG_TABLESIZE, &out->max_segments) < 0)
        return -errno;
    out->host = id.host_no;
    out->channel = id.channel;
    out->target = id.scsi_id;
    out->lun = id.lun;
    out->scsi_type = id.scsi_type;
    return 0;
}

/* Asks for a reserved buffer; the driver may grant less.  What it granted, or a negated errno. */
static int mpio_reserve_buffer(int fd, int wanted_bytes)
{
    int granted = 0;
    if (ioctl(fd, SG_SET_RESERVED_SIZE, &wanted_bytes) < 0 || ioctl(fd, SG_GET_RESERVED_SIZE, &granted) < 0)
        return -errno;
    return granted;
}

/* A signal would end the wait with what was sent left on its way, its answer lost: so none is let in. */
static void mpio_block_signals(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
}

/* LOGICAL UNIT RESET and nothing beyond it; 0 or a negated errno.  The library has no call for it. */
static int mpio_reset_logical_unit(int fd)
{
    sigset_t before;
    int what = SG_SCSI_RESET_DEVICE | SG_SCSI_RESET_NO_ESCALATE;
    mpio_block_signals(&before);
    int result = ioctl(fd, SG_SCSI_RESET, &what) < 0 ? -errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

static int mpio_run_pt(struct sg_pt_base *pt, int timeout_s, struct mpio_completion *out)
{
    int problem = do_scsi_pt(pt, -1, timeout_s, 0);
    if (problem < 0)
        return problem;
    if (problem > 0)
        return problem == SCSI_PT_DO_TIMEOUT ? -ETIMEDOUT : -EINVAL;
    out->status = get_scsi_pt_status_response(pt);
    out->host_status = get_scsi_pt_transport_err(pt);
    out->residual_bytes = get_scsi_pt_resid(pt);
    out->sense_bytes = get_scsi_pt_sense_len(pt);
    return 0;
}

/* One command through the library's pass-through; 0 or a negated errno. */
static int mpio_pass_through(int fd, const uint8_t *cdb, int cdb_bytes, int direction, uint8_t *data,
                             uint32_t data_bytes, int timeout_s, uint8_t *sense, struct mpio_completion *out)
{
    sigset_t before;
    struct sg_pt_base *pt = construct_scsi_pt_obj_with_fd(fd, 0);
    if (pt == NULL)
        return -ENOMEM;
    int result = -get_scsi_pt_os_err(pt);
    if (result == 0) {
        set_scsi_pt_cdb(pt, cdb, cdb_bytes);
        set_scsi_pt_sense(pt, sense, MPIO_SENSE_BYTES);
        if (direction == SG_DXFER_FROM_DEV)
            set_scsi_pt_data_in(pt, data, data_bytes);
        else if (direction == SG_DXFER_TO_DEV)
            set_scsi_pt_data_out(pt, data, data_bytes);
        mpio_block_signals(&before);
        result = mpio_run_pt(pt, timeout_s, out);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    destruct_scsi_pt_obj(pt);
    return result;
}
"""

ffibuilder = FFI()
ffibuilder.cdef(DECLARATIONS)
ffibuilder.set_source("mpio_fuse.transport.sg._sgutils", SOURCE, libraries=["sgutils2"])

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
