/* Stands between libiscsi and its socket: fewer system calls, and nothing reaches libiscsi that it cannot bear.
 *
 * libiscsi calls recv, readv, send and writev by these names.  The extension is loaded so that its own definitions
 * are found first (RTLD_DEEPBIND, see native.py); for any descriptor but that of the session being served they pass
 * through to the kernel.
 *
 * Inbound, one system call takes as much as there is: read data of a large transfer straight into the caller's buffer,
 * what follows it into `ahead`, from which libiscsi is then fed.  Outbound, PDUs are gathered and go out together.
 *
 * Every header is checked before libiscsi sees its last byte.  libiscsi 1.19 trusts the target where it must not:
 *   - an R2T of 4 GiB makes it allocate a PDU for each segment, and of a segment length of 0, without end;
 *   - an R2T for a login, a NOP or a task management function makes it follow a null pointer;
 *   - it frees nothing of the Data-Out it has queued when the command's answer comes early, and then reads freed memory;
 *   - it parses sense data beyond its end, and takes a target's "could not" (the response byte) for GOOD;
 *   - nobody counts what arrived, so that data left out would be whatever the buffer held before.
 * A violation ends the session: the call fails with EPROTO, and libiscsi gives the connection up.
 */

static __thread struct mpio_session *mpio_current;

static uint32_t be32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t segment_bytes_of(const uint8_t *header)
{
    return be32(header + 4) & 0xffffff;
}

static uint32_t padded(uint32_t bytes)
{
    return (bytes + 3) & ~UINT32_C(3);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int violation(struct mpio_session *session, const char *what)
{
    mpio_fail(session, what);
    errno = EPROTO;
    return -1;
}

static struct mpio_slot *slot_of(struct mpio_session *session, uint32_t itt)
{
    for (int index = 0; index < MPIO_DEPTH; index++)
        if (session->itts[index] == itt && session->slots[index].task != NULL && !session->slots[index].has_ended)
            return &session->slots[index];
    return NULL;
}

/* ---- what comes from the target */

static int check_data_in(struct mpio_session *session, const uint8_t *header)
{
    struct mpio_slot *slot = slot_of(session, be32(header + 16));
    uint32_t bytes = segment_bytes_of(header);
    if (slot == NULL) /* late data of a command that was aborted: libiscsi throws it away */
        return 0;
    if (slot->direction != SCSI_XFER_READ || be32(header + 40) != slot->received_bytes
        || bytes > slot->data_bytes - slot->received_bytes)
        return violation(session, "data where none was asked for");
    if ((header[1] & 1) && header[3] == SCSI_STATUS_CHECK_CONDITION)
        return violation(session, "a CHECK CONDITION without room for its sense");
    slot->received_bytes += bytes;
    return 0;
}

static int check_r2t(struct mpio_session *session, const uint8_t *header)
{
    struct mpio_slot *slot = slot_of(session, be32(header + 16));
    uint32_t offset = be32(header + 40), bytes = be32(header + 44);
    if (slot == NULL || slot->direction != SCSI_XFER_WRITE || !slot->is_sent || bytes == 0
        || offset < slot->next_r2t_offset || offset > slot->data_bytes || bytes > slot->data_bytes - offset)
        return violation(session, "asked for data that there is not");
    slot->next_r2t_offset = offset + bytes;
    slot->solicited_bytes += bytes;
    return 0;
}

static int check_response(struct mpio_session *session, const uint8_t *header)
{
    struct mpio_slot *slot = slot_of(session, be32(header + 16));
    if (segment_bytes_of(header) > MPIO_CAPTURE_BYTES)
        return violation(session, "sense data without end");
    if (slot != NULL && header[2] != 0)
        slot->has_failed = 1;
    return 0;
}

static int check_login(struct mpio_session *session, const uint8_t *header)
{
    if (session->login != LOGIN_UNDER_WAY || padded(segment_bytes_of(header)) > MPIO_CAPTURE_BYTES)
        return violation(session, "a login response that cannot be");
    session->login_status = header[36] << 8 | header[37];
    return 0;
}

static int check_header(struct mpio_session *session)
{
    const uint8_t *header = session->wire.header;
    int opcode = header[0] & 0x3f;
    if (header[4] != 0 || padded(segment_bytes_of(header)) > MPIO_SEGMENT_BYTES)
        return violation(session, "a PDU longer than was agreed");
    if (opcode == 0x23)
        return check_login(session, header);
    if (session->login != LOGIN_DONE)
        return violation(session, "something else than a login response");
    switch (opcode) {
    case 0x20: /* NOP-In; each of the target's own costs an answer */
        if (be32(header + 20) != 0xffffffff && ++session->wire.pings_in > 1024)
            return violation(session, "NOP-In without end");
        return 0;
    case 0x21:
        return check_response(session, header);
    case 0x22: /* task management, text, logout responses */
    case 0x24:
    case 0x26:
        return 0;
    case 0x25:
        return check_data_in(session, header);
    case 0x31:
        return check_r2t(session, header);
    case 0x32:
        return header[36] == 0 ? 0 : violation(session, "the target ends the session");
    case 0x3f:
        return violation(session, "the target rejects what was sent");
    default:
        return violation(session, "an unknown PDU");
    }
}

/* A key's value when `text` is that key, else NULL. */
static const char *value_of(const char *text, const char *key)
{
    size_t length = strlen(key);
    return strncmp(text, key, length) == 0 ? text + length : NULL;
}

static int take_length(struct mpio_session *session, const char *value, uint32_t *length)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    if (*value < '0' || *value > '9' || *end != 0 || number < 512 || number > 0xffffff)
        return violation(session, "a length out of range in the login");
    *length = number;
    return 0;
}

static int check_challenge(struct mpio_session *session, const char *value)
{
    size_t digits = strspn(value, "0123456789abcdefABCDEF");
    if (digits == 0 || digits % 2 != 0 || value[digits] != 0 || digits > 2048)
        return violation(session, "a CHAP challenge that is none");
    return 0;
}

static int check_login_key(struct mpio_session *session, const char *text)
{
    const char *value;
    if ((value = value_of(text, "MaxRecvDataSegmentLength=")))
        return take_length(session, value, &session->segment_bytes);
    if ((value = value_of(text, "FirstBurstLength=")))
        return take_length(session, value, &session->first_burst_bytes);
    if ((value = value_of(text, "MaxBurstLength=")))
        return take_length(session, value, &session->max_burst_bytes);
    if ((value = value_of(text, "CHAP_C=0x")))
        return check_challenge(session, value);
    if ((value = value_of(text, "HeaderDigest=")))
        session->digest_refused = strcmp(value, "CRC32C") != 0;
    if (value_of(text, "CHAP_N="))
        session->proved |= 1;
    if (value_of(text, "CHAP_R=0x"))
        session->proved |= 2;
    return 0;
}

static int check_login_data(struct mpio_session *session, uint32_t bytes)
{
    const char *text = (const char *)session->wire.capture, *end = text + bytes;
    while (text < end && *text != 0) {
        const char *zero = memchr(text, 0, end - text);
        if (zero == NULL)
            return violation(session, "login text without an end");
        if (check_login_key(session, text) < 0)
            return -1;
        text = zero + 1;
    }
    return 0;
}

/* SPC's sense behind two bytes of its length (RFC 7143 11.4.7.2). */
static void keep_sense(struct mpio_session *session, uint32_t bytes)
{
    const uint8_t *data = session->wire.capture;
    struct mpio_slot *slot = slot_of(session, be32(session->wire.header + 16));
    uint32_t length = bytes < 2 ? 0 : (uint32_t)data[0] << 8 | data[1];
    if (slot == NULL || session->wire.header[3] != SCSI_STATUS_CHECK_CONDITION || bytes < 2)
        return;
    if (length > bytes - 2)
        length = bytes - 2;
    if (length > MPIO_SENSE_BYTES)
        length = MPIO_SENSE_BYTES;
    memcpy(slot->sense, data + 2, length);
    slot->sense_bytes = length;
}

/* libiscsi has been given `bytes` of the PDU's data; where it wants them in `into`, NULL for a command's own buffer. */
static int took_data(struct mpio_session *session, uint8_t *into, uint32_t bytes)
{
    struct mpio_wire *wire = &session->wire;
    int opcode = wire->header[0] & 0x3f;
    int is_captured = opcode == 0x23 || opcode == 0x21;
    wire->data_left -= bytes;
    if (is_captured && into != NULL) {
        memcpy(wire->capture + wire->capture_got, into, bytes);
        wire->capture_got += bytes;
    }
    if (opcode == 0x21 && into != NULL)
        memset(into, 0, bytes); /* libiscsi's parser of sense reads beyond its end: there is nothing to parse */
    if (wire->data_left != 0 || !is_captured)
        return 0;
    if (opcode == 0x21) {
        keep_sense(session, segment_bytes_of(wire->header));
        return 0;
    }
    return check_login_data(session, segment_bytes_of(wire->header));
}

static int took_header(struct mpio_session *session, const uint8_t *from, uint32_t bytes, size_t wanted)
{
    struct mpio_wire *wire = &session->wire;
    if (wire->header_got == 0)
        wire->header_bytes = wanted; /* with the digest, once one was agreed */
    if (wire->header_bytes > sizeof wire->header || wire->header_got + bytes > wire->header_bytes)
        return violation(session, "libiscsi reads headers of another length than expected");
    memcpy(wire->header + wire->header_got, from, bytes);
    wire->header_got += bytes;
    if (wire->header_got < wire->header_bytes)
        return 0;
    wire->header_got = 0;
    wire->capture_got = 0;
    wire->data_left = padded(segment_bytes_of(wire->header));
    return check_header(session);
}

static ssize_t heard(struct mpio_session *session, ssize_t got)
{
    if (got > 0)
        session->heard_ms = now_ms();
    else if (got == 0)
        mpio_fail(session, "the target closed the connection");
    else if (errno != EAGAIN && errno != EINTR)
        mpio_fail(session, strerror(errno));
    return got;
}

static ssize_t read_ahead(struct mpio_session *session)
{
    struct mpio_wire *wire = &session->wire;
    ssize_t got = heard(session, recvfrom(session->fd, wire->ahead, sizeof wire->ahead, MSG_DONTWAIT, NULL, NULL));
    wire->ahead_begin = 0;
    wire->ahead_end = got > 0 ? got : 0;
    return got;
}

static size_t from_ahead(struct mpio_wire *wire, void *into, size_t room)
{
    size_t bytes = wire->ahead_end - wire->ahead_begin;
    if (bytes > room)
        bytes = room;
    memcpy(into, wire->ahead + wire->ahead_begin, bytes);
    wire->ahead_begin += bytes;
    return bytes;
}

static ssize_t wire_recv(struct mpio_session *session, void *into, size_t wanted)
{
    struct mpio_wire *wire = &session->wire;
    size_t bytes;
    if (session->has_failed)
        return violation(session, "");
    if (wire->ahead_begin == wire->ahead_end) {
        ssize_t got = read_ahead(session);
        if (got <= 0)
            return got;
    }
    if (wire->data_left == 0) {
        bytes = from_ahead(wire, into, wanted);
        return took_header(session, into, bytes, wanted) < 0 ? -1 : (ssize_t)bytes;
    }
    bytes = from_ahead(wire, into, wanted < wire->data_left ? wanted : wire->data_left);
    return took_data(session, into, bytes) < 0 ? -1 : (ssize_t)bytes;
}

/* Read data: what was read ahead first, then straight into the caller's buffer, and ahead behind it. */
static ssize_t wire_readv(struct mpio_session *session, uint8_t *into, size_t wanted)
{
    struct mpio_wire *wire = &session->wire;
    size_t bytes;
    if (session->has_failed)
        return violation(session, "");
    bytes = from_ahead(wire, into, wanted);
    if (bytes < wanted) {
        struct iovec places[2] = { { into + bytes, wanted - bytes }, { wire->ahead, sizeof wire->ahead } };
        struct msghdr message = { .msg_iov = places, .msg_iovlen = 2 };
        ssize_t got = heard(session, recvmsg(session->fd, &message, MSG_DONTWAIT));
        if (got <= 0 && bytes == 0)
            return got;
        size_t more = got <= 0 ? 0 : (size_t)got < wanted - bytes ? (size_t)got : wanted - bytes;
        wire->ahead_begin = 0;
        wire->ahead_end = got <= 0 ? 0 : got - more;
        bytes += more;
    }
    return took_data(session, NULL, bytes) < 0 ? -1 : (ssize_t)bytes;
}

/* ---- what goes to the target */

static int wire_flush(struct mpio_session *session)
{
    struct mpio_wire *wire = &session->wire;
    while (wire->out_begin < wire->out_end && !session->has_failed) {
        ssize_t sent = sendto(session->fd, wire->out + wire->out_begin, wire->out_end - wire->out_begin,
                              MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            wire->wants_write = 1;
            return -1;
        }
        if (sent < 0) {
            mpio_fail(session, strerror(errno));
            return -1;
        }
        wire->out_begin += sent;
    }
    wire->out_begin = wire->out_end = 0;
    wire->pings_in = 0;
    return 0;
}

static int has_room(struct mpio_session *session, size_t bytes)
{
    struct mpio_wire *wire = &session->wire;
    if (wire->out_end + bytes > sizeof wire->out && wire_flush(session) < 0 && wire->out_begin > 0) {
        memmove(wire->out, wire->out + wire->out_begin, wire->out_end - wire->out_begin);
        wire->out_end -= wire->out_begin;
        wire->out_begin = 0;
    }
    if (session->has_failed)
        return 0;
    if (wire->out_end + bytes <= sizeof wire->out)
        return 1;
    wire->wants_write = 1;
    errno = EAGAIN;
    return 0;
}

static void append(struct mpio_wire *wire, const void *from, size_t bytes)
{
    memcpy(wire->out + wire->out_end, from, bytes);
    wire->out_end += bytes;
}

/* libiscsi writes a PDU as header (with text, if any), data from the command's buffer, padding, each in calls of its own. */
static int note_header(struct mpio_session *session, const uint8_t *header)
{
    struct mpio_wire *wire = &session->wire;
    int opcode = header[0] & 0x3f;
    struct mpio_slot *slot = slot_of(session, be32(header + 16));
    wire->out_slot = -1;
    if (opcode != 0x01 && opcode != 0x05)
        return 0;
    wire->payload_left = padded(segment_bytes_of(header));
    if (opcode == 0x01 && slot != NULL)
        slot->is_sent = 1;
    if (opcode == 0x05)
        for (int index = 0; index < MPIO_DEPTH; index++) /* ended or not: it was solicited */
            if (session->slots[index].task != NULL && session->itts[index] == be32(header + 16))
                wire->out_slot = index;
    return 0;
}

static void note_payload(struct mpio_session *session, size_t bytes)
{
    struct mpio_wire *wire = &session->wire;
    wire->payload_left -= bytes < wire->payload_left ? bytes : wire->payload_left;
    if (wire->out_slot >= 0) {
        struct mpio_slot *slot = &session->slots[wire->out_slot];
        slot->solicited_bytes -= bytes < slot->solicited_bytes ? bytes : slot->solicited_bytes;
    }
}

static ssize_t wire_send(struct mpio_session *session, const uint8_t *from, size_t bytes)
{
    struct mpio_wire *wire = &session->wire;
    int is_padding = wire->payload_left > 0;
    if (is_padding && bytes > 3)
        return violation(session, "answered a command that was not sent yet");
    if (bytes > sizeof wire->out || !has_room(session, bytes))
        return session->has_failed ? violation(session, "") : -1;
    append(wire, from, bytes);
    if (is_padding)
        wire->payload_left -= bytes < wire->payload_left ? bytes : wire->payload_left;
    else if (bytes >= MPIO_HEADER_BYTES && note_header(session, from) < 0)
        return -1;
    return bytes;
}

/* A larger piece goes with everything gathered so far in one call, and is not copied. */
#define COPIED_BYTES (16 << 10)

static ssize_t wire_writev(struct mpio_session *session, const struct iovec *piece)
{
    struct mpio_wire *wire = &session->wire;
    size_t gathered = wire->out_end - wire->out_begin;
    struct iovec places[2] = { { wire->out + wire->out_begin, gathered }, *piece };
    struct msghdr message = { .msg_iov = places, .msg_iovlen = 2 };
    ssize_t sent;
    if (piece->iov_len <= COPIED_BYTES) {
        if (!has_room(session, piece->iov_len))
            return session->has_failed ? violation(session, "") : -1;
        append(wire, piece->iov_base, piece->iov_len);
        note_payload(session, piece->iov_len);
        return piece->iov_len;
    }
    sent = sendmsg(session->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno == EAGAIN || errno == EINTR)
            wire->wants_write = 1;
        else
            mpio_fail(session, strerror(errno));
        errno = session->has_failed ? EPROTO : EAGAIN;
        return -1;
    }
    if ((size_t)sent <= gathered) {
        wire->out_begin += sent;
        wire->wants_write = 1;
        errno = EAGAIN;
        return -1;
    }
    wire->out_begin = wire->out_end = 0;
    note_payload(session, sent - gathered);
    return sent - gathered;
}

/* ---- the names libiscsi calls */

static int is_served(int fd)
{
    return mpio_current != NULL && mpio_current->fd == fd;
}

ssize_t recv(int fd, void *into, size_t bytes, int flags)
{
    return is_served(fd) ? wire_recv(mpio_current, into, bytes) : recvfrom(fd, into, bytes, flags, NULL, NULL);
}

ssize_t readv(int fd, const struct iovec *pieces, int count)
{
    if (is_served(fd) && count == 1) /* a command has one buffer */
        return wire_readv(mpio_current, pieces->iov_base, pieces->iov_len);
    return preadv2(fd, pieces, count, -1, 0);
}

ssize_t send(int fd, const void *from, size_t bytes, int flags)
{
    return is_served(fd) ? wire_send(mpio_current, from, bytes) : sendto(fd, from, bytes, flags, NULL, 0);
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    if (is_served(fd) && count == 1)
        return wire_writev(mpio_current, pieces);
    return pwritev2(fd, pieces, count, -1, 0);
}
