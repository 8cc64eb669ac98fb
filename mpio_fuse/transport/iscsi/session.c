/* One iSCSI session over libiscsi's asynchronous interface.
 *
 * Nothing here waits.  Python waits until the socket is ready and calls mpio_pump, which does all that can be done:
 * reads, writes, and gathers the ends of commands in `answers`, which Python then takes in one go.  No callback of
 * libiscsi's goes further than this file.
 *
 * libiscsi would connect anew by itself and send every open command again, at an unknown time: with that a write that
 * was given up could land over newer data.  That is switched off.  A session that fails stays failed, and whoever owns
 * it makes another.  libiscsi's own timeouts are not used either: they forget a command that the target still has.
 *
 * A command's task and buffer are kept until libiscsi cannot point to them any more: until it has ended *and* all
 * data that an R2T asked for is on the wire *and* no abort of it is under way.
 */

static void mpio_fail(struct mpio_session *session, const char *why)
{
    if (!session->has_failed)
        strncpy(session->error, why, MPIO_ERROR_BYTES - 1);
    session->has_failed = 1;
}

static void fail_by_libiscsi(struct mpio_session *session)
{
    mpio_fail(session, iscsi_get_error(session->iscsi));
}

/* ---- callbacks of libiscsi */

static void on_login(struct iscsi_context *iscsi, int status, void *data, void *private)
{
    struct mpio_session *session = private;
    if (status == SCSI_STATUS_GOOD && session->is_mutual && session->proved != 3)
        mpio_fail(session, "the target did not prove who it is (mutual CHAP)");
    else if (status == SCSI_STATUS_GOOD && session->wants_digest && session->digest_refused)
        mpio_fail(session, "the target refuses header digests");
    else if (status == SCSI_STATUS_GOOD && session->wire.header_bytes == 0)
        mpio_fail(session, "libiscsi was loaded before by somebody else, its socket cannot be watched");
    else if (status == SCSI_STATUS_GOOD)
        session->login = LOGIN_DONE;
    else if (status == SCSI_STATUS_REDIRECT)
        session->login = LOGIN_REDIRECTED;
    else
        session->login = LOGIN_REFUSED;
    if (session->login == LOGIN_REFUSED)
        fail_by_libiscsi(session);
}

static void on_connect(struct iscsi_context *iscsi, int status, void *data, void *private)
{
    struct mpio_session *session = private;
    session->is_connected = status == SCSI_STATUS_GOOD;
    if (!session->is_connected || iscsi_login_async(iscsi, on_login, session) != 0)
        fail_by_libiscsi(session);
}

static void on_command(struct iscsi_context *iscsi, int status, void *data, void *private)
{
    struct mpio_slot *slot = private;
    slot->has_ended = 1;
    mpio_current->is_unsettled = 1;
    switch (status) {
    case SCSI_STATUS_CANCELLED: /* by us, who then said why; else libiscsi has given the connection up, silently */
        if (slot->host_status == HOST_OK)
            fail_by_libiscsi(mpio_current);
        break;
    case SCSI_STATUS_ERROR: /* the target's answer is none */
    case SCSI_STATUS_TIMEOUT:
        fail_by_libiscsi(mpio_current);
        break;
    default:
        slot->status = status;
        slot->host_status = slot->has_failed ? HOST_ERROR : HOST_OK;
        slot->residual_bytes = slot->task->residual_status == SCSI_RESIDUAL_UNDERFLOW ? slot->task->residual : 0;
    }
}

static void on_ping(struct iscsi_context *iscsi, int status, void *data, void *private)
{
    struct mpio_session *session = private;
    session->pings_out = 0;
    if (status != SCSI_STATUS_GOOD)
        fail_by_libiscsi(session);
}

static void on_abort(struct iscsi_context *iscsi, int status, void *data, void *private)
{
    struct mpio_slot *slot = private;
    mpio_current->is_unsettled = 1;
    slot->abort_state = TASK_MANAGEMENT_ANSWERED;
    slot->abort_response = status == SCSI_STATUS_GOOD ? *(uint32_t *)data : 0xff;
}

static void on_reset(struct iscsi_context *iscsi, int status, void *data, void *private)
{
    struct mpio_session *session = private;
    if (status != SCSI_STATUS_GOOD) {
        fail_by_libiscsi(session);
        return;
    }
    session->is_unsettled = 1;
    session->reset_state = TASK_MANAGEMENT_ANSWERED;
    session->reset_response = *(uint32_t *)data;
}

static int add_text(struct mpio_session *session, char kind, const char *text)
{
    size_t bytes = strlen(text) + 2;
    char *grown = realloc(session->targets, session->targets_bytes + bytes);
    if (grown == NULL)
        return -1;
    grown[session->targets_bytes] = kind;
    memcpy(grown + session->targets_bytes + 1, text, bytes - 1);
    session->targets = grown;
    session->targets_bytes += bytes;
    return 0;
}

static void on_targets(struct iscsi_context *iscsi, int status, void *data, void *private)
{
    struct mpio_session *session = private;
    struct iscsi_discovery_address *target = status == SCSI_STATUS_GOOD ? data : NULL;
    session->listing = status == SCSI_STATUS_GOOD ? 1 : 2;
    for (; target != NULL; target = target->next) {
        if (add_text(session, 'T', target->target_name) < 0)
            return;
        for (struct iscsi_target_portal *portal = target->portals; portal != NULL; portal = portal->next)
            if (add_text(session, 'P', portal->portal) < 0)
                return;
    }
}

/* ---- the end of commands */

static void answer(struct mpio_session *session, int index)
{
    struct mpio_slot *slot = &session->slots[index];
    struct mpio_answer *answer;
    uint32_t missing = slot->direction == SCSI_XFER_READ ? slot->data_bytes - slot->received_bytes : 0;
    if (missing < slot->residual_bytes)
        missing = slot->residual_bytes < slot->data_bytes ? slot->residual_bytes : slot->data_bytes;
    if (slot->host_status == HOST_OK && slot->status == 0 && missing == 0 && slot->sense_bytes == 0) {
        session->good[session->good_count++] = index;
        return;
    }
    answer = &session->answers[session->answer_count++];
    answer->slot = index;
    answer->host_status = slot->host_status;
    answer->status = slot->host_status == HOST_OK ? slot->status : 0;
    answer->residual_bytes = missing;
    answer->sense_bytes = slot->sense_bytes;
    memcpy(answer->sense, slot->sense, slot->sense_bytes);
}

static void give_back(struct mpio_session *session, int index)
{
    struct mpio_slot *slot = &session->slots[index];
    answer(session, index);
    scsi_free_scsi_task(slot->task);
    slot->task = NULL;
    session->in_flight--;
}

/* The target confirmed that it has this command no more, or never had it. */
static void cancel(struct mpio_session *session, struct mpio_slot *slot, int host_status)
{
    slot->host_status = host_status;
    if (iscsi_scsi_cancel_task(session->iscsi, slot->task) != 0)
        mpio_fail(session, "libiscsi does not know a command that it was given");
}

static void settle_abort(struct mpio_session *session, struct mpio_slot *slot)
{
    if (slot->abort_state != TASK_MANAGEMENT_ANSWERED)
        return;
    slot->abort_state = TASK_MANAGEMENT_IDLE;
    if (slot->has_ended)
        return;
    if (slot->abort_response == ISCSI_TMR_FUNC_COMPLETE || slot->abort_response == ISCSI_TMR_TASK_DOES_NOT_EXIST)
        cancel(session, slot, HOST_TIME_OUT);
    else
        mpio_fail(session, "the target does not abort a command that has timed out");
}

/* The reset took every command that was sent before it; the target answers none of them (RFC 7143 11.5.1). */
static void settle_reset(struct mpio_session *session, struct mpio_slot *slot)
{
    int is_confirmed = session->reset_state == TASK_MANAGEMENT_ANSWERED
        && session->reset_response == ISCSI_TMR_FUNC_COMPLETE && session->reset_sequence != 0;
    if (is_confirmed && slot->is_sent && !slot->has_ended && slot->sequence < session->reset_sequence)
        cancel(session, slot, HOST_RESET);
}

static void settle(struct mpio_session *session)
{
    int is_unsettled = 0;
    if (!session->is_unsettled)
        return;
    for (int index = 0; index < MPIO_DEPTH && !session->has_failed; index++) {
        struct mpio_slot *slot = &session->slots[index];
        if (slot->task == NULL)
            continue;
        settle_abort(session, slot);
        settle_reset(session, slot);
        if (slot->has_ended && slot->solicited_bytes == 0 && slot->abort_state == TASK_MANAGEMENT_IDLE)
            give_back(session, index);
        else if (slot->has_ended)
            is_unsettled = 1;
    }
    session->is_unsettled = is_unsettled;
    if (session->reset_state == TASK_MANAGEMENT_ANSWERED)
        session->reset_sequence = 0;
}

/* ---- what Python calls */

static struct mpio_session *mpio_open(const char *initiator_name, const char *target_name, uint32_t isid_random,
                                      uint32_t isid_qualifier, int lun, int wants_digest)
{
    struct mpio_session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return NULL;
    session->iscsi = iscsi_create_context(initiator_name);
    if (session->iscsi == NULL) {
        free(session);
        return NULL;
    }
    session->fd = -1;
    session->lun = lun;
    session->wire.out_slot = -1;
    session->wants_digest = wants_digest;
    iscsi_set_noautoreconnect(session->iscsi, 1);
    iscsi_set_isid_random(session->iscsi, isid_random, isid_qualifier);
    iscsi_set_header_digest(session->iscsi, wants_digest ? ISCSI_HEADER_DIGEST_CRC32C : ISCSI_HEADER_DIGEST_NONE);
    /* Then the only data that leaves after its command is what an R2T asked for, and can be accounted for. */
    iscsi_set_initial_r2t(session->iscsi, ISCSI_INITIAL_R2T_YES);
    iscsi_set_session_type(session->iscsi, target_name ? ISCSI_SESSION_NORMAL : ISCSI_SESSION_DISCOVERY);
    if (target_name != NULL)
        iscsi_set_targetname(session->iscsi, target_name);
    return session;
}

static void mpio_authenticate(struct mpio_session *session, const char *user, const char *password,
                              const char *target_user, const char *target_password)
{
    iscsi_set_initiator_username_pwd(session->iscsi, user, password);
    iscsi_set_target_username_pwd(session->iscsi, target_user, target_password);
    session->is_mutual = target_user[0] != 0;
}

/* Begins to connect to a numeric address, and logs in after that.  0, or -1 and an error. */
static int mpio_connect(struct mpio_session *session, const char *portal)
{
    if (iscsi_connect_async(session->iscsi, portal, on_connect, session) != 0) {
        fail_by_libiscsi(session);
        return -1;
    }
    session->fd = iscsi_get_fd(session->iscsi);
    return 0;
}

static void serve(struct mpio_session *session, int events)
{
    if (!session->has_failed && iscsi_service(session->iscsi, events) < 0)
        fail_by_libiscsi(session);
}

#define ROUNDS 256 /* of PDUs, before others get their turn */

static void take_in(struct mpio_session *session)
{
    struct mpio_wire *wire = &session->wire;
    serve(session, POLLIN);
    for (int round = 0; round < ROUNDS && !session->has_failed && wire->ahead_begin < wire->ahead_end; round++)
        serve(session, POLLIN);
}

static void put_out(struct mpio_session *session)
{
    if (session->is_connected && !session->has_failed && (iscsi_which_events(session->iscsi) & POLLOUT))
        serve(session, POLLOUT);
    wire_flush(session);
}

/* Does all that can be done now.  `is_readable`: the socket has something to read; `is_connecting`: it became
 * writable for the first time.  What comes out are MPIO_* flags. */
static int mpio_pump(struct mpio_session *session, int is_readable, int is_connecting)
{
    struct mpio_wire *wire = &session->wire;
    session->good_count = session->answer_count = 0;
    wire->wants_write = 0;
    mpio_current = session;
    if (is_connecting && !session->is_connected)
        serve(session, POLLOUT);
    if (is_readable)
        take_in(session);
    put_out(session);
    settle(session);
    mpio_current = NULL;
    return (session->has_failed ? MPIO_LOST : 0) | (wire->wants_write ? MPIO_WANTS_WRITE : 0)
        | (wire->ahead_begin < wire->ahead_end ? MPIO_MORE : 0);
}

/* Queues one command, which goes out at the next mpio_pump; 0 or a negated errno. */
static int mpio_submit(struct mpio_session *session, int index, const uint8_t *cdb, int cdb_bytes, int direction,
                       void *data, uint32_t data_bytes)
{
    struct mpio_slot *slot = &session->slots[index];
    if (cdb_bytes > MPIO_CDB_BYTES || slot->task != NULL || session->has_failed)
        return -EINVAL;
    memset(slot, 0, offsetof(struct mpio_slot, sense));
    slot->task = scsi_create_task(cdb_bytes, (unsigned char *)cdb, direction, data_bytes);
    if (slot->task == NULL)
        return -ENOMEM;
    slot->sequence = ++session->sequence;
    slot->direction = direction;
    slot->data_bytes = data_bytes;
    slot->data.iov_base = data;
    slot->data.iov_len = data_bytes;
    if (direction == SCSI_XFER_READ)
        scsi_task_set_iov_in(slot->task, &slot->data, 1);
    else if (direction == SCSI_XFER_WRITE)
        scsi_task_set_iov_out(slot->task, &slot->data, 1);
    if (iscsi_scsi_command_async(session->iscsi, session->lun, slot->task, on_command, NULL, slot) != 0) {
        scsi_free_scsi_task(slot->task);
        slot->task = NULL;
        return -ENOMEM;
    }
    session->itts[index] = slot->task->itt;
    session->in_flight++;
    return 0;
}

/* Asks the target to abort a command; 0, or -1 when it cannot be asked: the command is not even sent. */
static int mpio_abort(struct mpio_session *session, int index)
{
    struct mpio_slot *slot = &session->slots[index];
    if (slot->task == NULL || slot->has_ended || slot->abort_state != TASK_MANAGEMENT_IDLE)
        return 0;
    if (!slot->is_sent || iscsi_task_mgmt_async(session->iscsi, session->lun, ISCSI_TM_ABORT_TASK, slot->task->itt,
                                                slot->task->cmdsn, on_abort, slot) != 0)
        return -1;
    slot->abort_state = TASK_MANAGEMENT_SENT;
    return 0;
}

static int mpio_reset(struct mpio_session *session)
{
    if (session->has_failed || session->reset_state == TASK_MANAGEMENT_SENT
        || iscsi_task_mgmt_async(session->iscsi, session->lun, ISCSI_TM_LUN_RESET, 0xffffffff, 0, on_reset, session) != 0)
        return -1;
    session->reset_state = TASK_MANAGEMENT_SENT;
    session->reset_sequence = ++session->sequence;
    return 0;
}

/* The target's response to the reset, -1 while there is none; asked once. */
static int mpio_reset_response(struct mpio_session *session)
{
    if (session->reset_state != TASK_MANAGEMENT_ANSWERED)
        return -1;
    session->reset_state = TASK_MANAGEMENT_IDLE;
    return session->reset_response;
}

static int mpio_ping(struct mpio_session *session)
{
    if (iscsi_nop_out_async(session->iscsi, on_ping, NULL, 0, session) != 0)
        return -1;
    session->pings_out++;
    return 0;
}

static int mpio_list_targets(struct mpio_session *session)
{
    return iscsi_discovery_async(session->iscsi, on_targets, session);
}

/* Where a login response sent us instead (LOGIN_REDIRECTED). */
static const char *mpio_target_address(struct mpio_session *session)
{
    return iscsi_get_target_address(session->iscsi);
}

static int64_t mpio_silent_ms(struct mpio_session *session)
{
    return now_ms() - session->heard_ms;
}

/* For how long the other end's kernel has not acknowledged anything although something is due; 0: nothing is due.
 * Due is what was sent, and a probe: of a closed window, or, when the route is gone, of what could not even be sent.  A
 * stopped target's kernel answers both. */
static int mpio_unacknowledged_ms(struct mpio_session *session)
{
    struct tcp_info info;
    socklen_t length = sizeof info;
    if (getsockopt(session->fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0)
        return 0;
    return info.tcpi_unacked == 0 && info.tcpi_probes == 0 ? 0 : (int)info.tcpi_last_ack_recv;
}

/* Ends the connection.  Nothing of libiscsi's points to any buffer after this. */
static void mpio_close(struct mpio_session *session)
{
    mpio_current = session;
    iscsi_destroy_context(session->iscsi);
    mpio_current = NULL;
    for (int index = 0; index < MPIO_DEPTH; index++)
        if (session->slots[index].task != NULL)
            scsi_free_scsi_task(session->slots[index].task);
    free(session->targets);
    memset(session, 0, sizeof *session);
    free(session);
}
