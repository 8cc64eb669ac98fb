"""How real storage systems differ: every difference a switch, every set of switches an array's name.

The defaults are SPC-4.  `LIO`, `TGT`, `SCSI_DEBUG` and `SCST` are what those were seen to do (LIO of Linux 6.1, tgt
1.0.85, measured over iSCSI with two initiators and two target ports; SCST by its users' reports).
"""

import enum

import attrs

from mpio_fuse.scsi.sense import SenseKey
from mpio_fuse.scsi.sense_codes import (
    COMMUNICATION_FAILURE,
    INVALID_FIELD_IN_PARAMETER_LIST,
    INVALID_RELEASE,
    POWER_ON_OR_RESET,
    REGISTRATIONS_PREEMPTED,
    RESERVATIONS_PREEMPTED,
    Code,
)
from mpio_fuse.target.access import (
    INFORMATION,
    LIO_CONFLICTS,
    LIO_CONFLICTS_WITHOUT_DATA,
    MODE_SENSE_6,
    REPORT_TARGET_PORT_GROUPS,
    RESERVE_10,
    SPC_CONFLICTS,
    TGT_CONFLICTS,
    VERIFY_10,
    CommandKey,
    ConflictTable,
)
from mpio_fuse.target.nexus import Basis
from mpio_fuse.target.refusal import (
    INVALID_FIELD,
    PARAMETER_LIST_LENGTH_ERROR,
    RESERVATION_CONFLICT,
    Ending,
    check_condition,
    illegal_request,
)

INVALID_PARAMETER = illegal_request(INVALID_FIELD_IN_PARAMETER_LIST)
INVALID_LENGTH = illegal_request(PARAMETER_LIST_LENGTH_ERROR)
INVALID_RELEASE_OF_RESERVATION = illegal_request(INVALID_RELEASE)


class Scsi2(enum.Enum):
    """What RESERVE(6) and RELEASE(6) mean where persistent reservations exist too."""

    EXCLUSIVE = "no CRH"
    """SPC-2 5.5.1: where anybody is registered both conflict; while reserved, PERSISTENT RESERVE conflicts."""

    COMPATIBLE = "CRH"
    """SPC-4 5.13.3: as above, but GOOD and without effect for those whom the persistent reservation lets in."""

    COMPATIBLE_FOR_HOLDER = "CRH for the holder"
    """LIO: claims CRH and lets only the holder have it, not the other registrants."""

    BESIDE = "beside"
    """tgt: they and persistent reservations do not know of each other, and each blocks."""

    IGNORED = "ignored"
    """scsi_debug: GOOD, and nothing is enforced."""


class Released(enum.Enum):
    """Who gets RESERVATIONS RELEASED when a reservation goes."""

    REGISTRANTS = "registrants"
    """SPC-4 5.13.11.2.2: for the types of registrants, each registrant other than the one that did it."""

    TGT = "tgt"
    """tgt: on RELEASE only for the types *without* registrants, on unregistering for all; and then each registrant in
    turn makes every nexus but itself attend, so that strangers and the one that did it are told, several times."""


class Abort(enum.Enum):
    """Whose commands PREEMPT AND ABORT aborts."""

    VICTIMS = "victims"
    """SPC-4 5.13.11.2.6: those of each nexus that lost its registration."""

    HELD = "held"
    """LIO: all that arrived while the preempted key held the reservation, whoever sent them; none when it did not.

    Measured over a backend that takes 3 s to write.  Preempting the holder's key ended its write and that of another
    registrant with 40h, after both had landed.  Preempting the key of a registrant that did not hold returned at
    once, and its write ended GOOD 2.5 s later: there PREEMPT AND ABORT is no barrier.
    """


class Reset(enum.Enum):
    """What LOGICAL UNIT RESET does with the commands in flight."""

    ABORTS = "aborts"
    """SAM-5 6.3.3: they are over, and nothing of them happens later."""

    WAITS = "waits"
    """tgt: they are carried out and end as they would; the reset is confirmed when the last has."""

    LEAVES = "leaves"
    """scsi_debug: confirms at once, and they go on: there a confirmed reset is no barrier."""


@attrs.frozen
class Quirks:
    """The switches.  An ending among them is what that mistake ends with."""

    name: str = "SPC-4"
    conflicts: ConflictTable = attrs.field(default=SPC_CONFLICTS, repr=False)
    conflicts_without_data: ConflictTable = attrs.field(factory=dict, repr=False)
    """Rows of their own for commands that ask for no data, as a READ of 0 blocks."""

    basis: Basis = Basis.I_T_NEXUS

    has_persistent_reserve: bool = True
    has_target_port_groups: bool = True
    has_reserve_10: bool = True
    has_preempt_and_abort: bool = True
    has_read_full_status: bool = True
    has_register_and_move: bool = True
    has_replace_lost_reservation: bool = True
    has_spec_i_pt: bool = True
    has_all_tg_pt: bool = True
    has_aptpl: bool = True
    capability_bits: int = 0x80
    """Byte 3 of REPORT CAPABILITIES: TMV, ALLOW COMMANDS."""

    unregistered: Ending = RESERVATION_CONFLICT
    """RESERVE, RELEASE and CLEAR of a nexus that is not registered, where the table lets it through."""

    invalid_parameter: Ending = INVALID_PARAMETER
    invalid_length: Ending = INVALID_LENGTH
    invalid_scope: Ending = INVALID_FIELD
    release_of_another_type: Ending = INVALID_RELEASE_OF_RESERVATION
    checks_scope_last: bool = False
    """RESERVE: registration and key come before SCOPE, though after TYPE."""

    checks_key_on_reserve: bool = True
    names_holder_of_all_registrants: bool = False
    """Under a type of all registrants PREEMPT of the key that reserved takes the reservation over, as it does else;
    SPC-4 says so of key 0 only."""

    checks_type_on_preempt: bool = False
    """TYPE and SCOPE must be right also where PREEMPT takes no reservation over (SPC-4 ignores them there)."""

    preempts_with_any_type: bool = False
    """PREEMPT that takes a reservation over does so with any SCOPE and TYPE, and both are reported as they came; a TYPE
    that is none acts as Exclusive Access - Registrants Only."""

    preempts_key_zero_of_nobody: bool = False
    """PREEMPT of key 0 without a reservation is GOOD and does nothing."""

    preempts_own_registration: bool = False
    """PREEMPT of the issuer's own key, which nobody holds the reservation by, removes the issuer's registration as
    well; not under a type of all registrants."""

    all_tg_pt_must_be_repeated: bool = False
    """A registration made with ALL_TG_PT can only be changed with ALL_TG_PT."""

    generation_of_no_change: bool = True
    """PRGENERATION rises when a nexus without a registration registers key 0."""

    generation_of_unregister: bool = True
    generation_of_lost_holder: int = 0
    """How much more it rises when the holder unregisters and the reservation goes with it."""

    released: Released = Released.REGISTRANTS
    preempted: Code = REGISTRATIONS_PREEMPTED
    """What those learn whose registration was preempted."""

    was_reset: Code = (0x29, 0x03)
    resets: Reset = Reset.ABORTS
    new_nexus: Code | None = None
    """The unit attention that greets a new session."""

    parses_first: bool = False
    """An unknown operation code and a range beyond the end come before unit attention and conflict."""

    checks_length_before_action: bool = False
    """PERSISTENT RESERVE OUT: a parameter list of a wrong length comes before an unknown service action."""

    only_whole_descriptors: bool = False
    """READ KEYS and READ RESERVATION leave out, with zeros in its place, what does not fit whole."""

    conflicts_without_isid: bool = False
    """The conflict table is asked about an initiator at a target port, not about a session.

    A session counts as registered when another of that initiator at that port is, with another ISID; the first of a
    port's registrations to go makes the port count as unregistered.  A session counts as holding when another does
    whose ISID begins with the same 8 of 12 digits, as all those of open-iscsi do (seen), and as a stranger when it
    begins otherwise (reported, not seen here).
    Only the port that reserved counts as holding: under a type of all registrants the others are looked up as the
    registrants of a type of registrants are.
    """

    conflict_before_attention: bool = False
    one_report_clears_all: bool = False
    """Reporting a unit attention forgets the others that wait on that nexus."""

    attentions_without_isid: bool = False
    """A unit attention waits for the initiator at that target port: its next session with another ISID gets it."""

    attentions_by_priority: bool = False
    """A reset is put before what waits of reservations; everything else waits in the order in which it came."""

    repeats_attentions: bool = False
    """The same unit attention may be queued several times."""

    request_sense_attends: bool = False
    """REQUEST SENSE ends with CHECK CONDITION while a unit attention waits, which goes on waiting."""

    scsi2: Scsi2 = Scsi2.COMPATIBLE
    passes_scsi2: frozenset[CommandKey] = INFORMATION
    """What passes another nexus's RESERVE(6) (SPC-2 table 10); INQUIRY, RELEASE and unknown commands always do."""

    aborts: Abort = Abort.VICTIMS
    aborted_commands_land: bool = False
    """An abort waits for the command to be carried out, rather than stopping it."""

    answers_task_aborted: bool = True
    """TAS: TASK ABORTED tells an initiator that another one's action aborted its command; else nothing does."""

    @property
    def has_crh(self) -> bool:
        """Compatible reservation handling, as REPORT CAPABILITIES tells."""
        return self.scsi2 in {Scsi2.COMPATIBLE, Scsi2.COMPATIBLE_FOR_HOLDER}


SPC = Quirks()

LIO = Quirks(
    name="LIO",
    conflicts=LIO_CONFLICTS,
    conflicts_without_data=LIO_CONFLICTS_WITHOUT_DATA,
    has_replace_lost_reservation=False,
    capability_bits=0x90,
    unregistered=check_condition(SenseKey.NOT_READY, COMMUNICATION_FAILURE),
    invalid_scope=INVALID_PARAMETER,
    checks_scope_last=True,
    release_of_another_type=RESERVATION_CONFLICT,
    checks_type_on_preempt=True,
    preempts_own_registration=True,
    names_holder_of_all_registrants=True,
    all_tg_pt_must_be_repeated=True,
    parses_first=True,
    checks_length_before_action=True,
    only_whole_descriptors=True,
    conflicts_without_isid=True,
    generation_of_no_change=False,
    generation_of_unregister=False,
    one_report_clears_all=True,
    attentions_without_isid=True,
    attentions_by_priority=True,
    scsi2=Scsi2.COMPATIBLE_FOR_HOLDER,
    passes_scsi2=frozenset(),
    aborts=Abort.HELD,
    aborted_commands_land=True,
)

TGT = Quirks(
    name="tgt",
    conflicts=TGT_CONFLICTS,
    basis=Basis.SESSION,
    has_target_port_groups=False,
    has_reserve_10=False,
    has_preempt_and_abort=False,
    has_read_full_status=False,
    has_register_and_move=False,
    has_replace_lost_reservation=False,
    has_spec_i_pt=False,
    has_all_tg_pt=False,
    has_aptpl=False,
    invalid_parameter=INVALID_FIELD,
    invalid_length=INVALID_FIELD,
    checks_key_on_reserve=False,
    preempts_with_any_type=True,
    preempts_key_zero_of_nobody=True,
    generation_of_lost_holder=1,
    released=Released.TGT,
    preempted=RESERVATIONS_PREEMPTED,
    was_reset=POWER_ON_OR_RESET,
    resets=Reset.WAITS,
    new_nexus=POWER_ON_OR_RESET,
    repeats_attentions=True,
    request_sense_attends=True,
    scsi2=Scsi2.BESIDE,
    passes_scsi2=INFORMATION | {VERIFY_10, MODE_SENSE_6, REPORT_TARGET_PORT_GROUPS, *RESERVE_10},
)

SCST = Quirks(name="SCST", conflict_before_attention=True)

SCSI_DEBUG = Quirks(
    name="scsi_debug",
    has_persistent_reserve=False,
    scsi2=Scsi2.IGNORED,
    was_reset=POWER_ON_OR_RESET,
    resets=Reset.LEAVES,
)

PER_INITIATOR = Quirks(name="registration per initiator", basis=Basis.INITIATOR)

VMWARE_RDM = Quirks(name="VMware RDM", has_preempt_and_abort=False)
