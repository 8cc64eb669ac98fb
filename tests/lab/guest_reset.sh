#!/bin/busybox sh
# Brings a guest back to where it was when its fabric had just been built, so that the next test finds nothing of the
# one before: no process, no mount, no loop device, no file in /tmp, no reservation, no pending unit attention.
#
#   guest_reset.sh keep                               remember what is here now
#   guest_reset.sh reset "H:C:T:L H:C:T:L" "..."      reset; one argument a LUN; answers one line an
#                                                     address: H:C:T:L /dev/sgN /dev/sdX, for a disk that was
#                                                     deleted and found again is another node#   guest_reset.sh luns "H:C:T:L..." "..."            only the part of reset that concerns the LUNs
KEPT=/run/lab-kept
KEY=1ab

keep() {
    busybox mkdir -p $KEPT/processes
    for P in /proc/[0-9]*; do : >"$KEPT/processes/${P#/proc/}"; done
    busybox cut -d' ' -f2 /proc/mounts >$KEPT/mounts
}

kill_processes() {
    for P in /proc/[0-9]*; do
        P=${P#/proc/}
        # Kernel threads that have come since ignore the signal.
        [ "$P" = $$ ] || [ "$P" = $PPID ] || [ -e "$KEPT/processes/$P" ] || kill -KILL "$P" 2>/dev/null
    done
}

# The kernel writes a space in a mountpoint as \040; unmounting wants the space.
unmount() { busybox umount -l "$(printf '%b' "$1")"; }

unmount_all() {
    busybox cut -d' ' -f2 /proc/mounts | busybox tac | while read -r M; do
        busybox grep -qxF -- "$M" $KEPT/mounts || unmount "$M"
    done
    for L in /sys/block/loop*/loop; do
        [ -d "$L" ] || continue
        L=${L%/loop}
        busybox losetup -d "/dev/${L##*/}"
    done
}

# A command's first answers may be unit attentions (exit status 6 of the sg utilities).
persevere() {
    for _ in 1 2 3 4; do "$@" >/run/lab-reset.log 2>&1 && return; done
    return 1
}

# NODE: any nexus to the LUN may register, and every registrant may clear.
clear_registrations() {
    if persevere sg_persist -n --in --read-keys "$1" && busybox grep -q 'NO registered' /run/lab-reset.log; then return; fi
    persevere sg_persist -n --out --register-ignore --param-sark=$KEY "$1" &&
        persevere sg_persist -n --out --clear --param-rk=$KEY "$1"
}

ready() { for N in $1; do persevere sg_turs "$N" || return; done; }

# A SCSI-2 reservation is its nexus's to release; that of a nexus gone needs the LUN reset.
release() {
    for N in $1; do sg_raw "$N" 17 00 00 00 00 00 >/dev/null 2>&1; done
    sg_reset --device "${1%% *}" >/dev/null 2>&1
}

# ADDRESS: puts "/dev/sgN" into NODE, and has the kernel look for the disk if it was deleted.
find_node() {
    D=/sys/bus/scsi/devices/$1
    if [ ! -d "$D" ]; then
        IFS=: read -r H C T L <<ADDRESS
$1
ADDRESS
        # tcm_loop refuses: its disks come back by linking the LUN again, which is left to the test, or a new guest.
        echo "$C $T $L" >"/sys/class/scsi_host/host$H/scan" || return
    fi
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        set -- "$D"/scsi_generic/sg* "$D"/block/sd*
        [ -d "$1" ] && [ -d "$2" ] && break
        busybox usleep 50000
    done
    [ -d "$2" ] || return
    read -r STATE <"$D/state" && [ "$STATE" = running ] || echo running >"$D/state"
    NODE=/dev/${1##*/}
    echo "${D##*/} $NODE /dev/${2##*/}"
}

reset_lun() {
    NODES=
    for A in $1; do
        find_node "$A" || return
        NODES="$NODES $NODE"
    done
    set -- "${NODES# }"
    FIRST=${1%% *}
    [ ! -d /sys/module/scsi_debug ] || FIRST=
    [ ! "$FIRST" ] || clear_registrations "$FIRST"
    ready "$1" && return
    release "$1"
    [ ! "$FIRST" ] || clear_registrations "$FIRST"
    ready "$1"
}

reset_luns() {
    for LUN in "$@"; do
        if ! reset_lun "$LUN"; then
            echo "cannot reset the LUN at $LUN:" >&2
            busybox cat /run/lab-reset.log >&2
            exit 1
        fi
    done
}

case $1 in
keep) keep ;;
reset)
    shift
    kill_processes
    unmount_all
    for TOP in /tmp /run/mpio-fuse; do
        # Mounted below /tmp may be the checkout: not entered.  busybox's find would delete nothing.
        [ ! -d $TOP ] || /usr/bin/find $TOP -xdev -mindepth 1 -delete 2>/dev/null
    done
    reset_luns "$@"
    ;;
luns)
    shift
    reset_luns "$@"
    ;;
esac
