#!/bin/busybox sh
# The guest's PID 1.  It lays a tmpfs over the machine's read-only root file system, mounts what a system has, and
# becomes the agent (guest_agent.sh).  Its own directory is the lab's work directory: hidden (directories to show
# although they lie below one that is empty here), environment, agent.
B=/bin/busybox
W=${0%/*}
N=/mnt/root
give_up() { echo "lab: $1"; $B poweroff -f; }

$B mount -t proc proc /proc
RELEASE=$($B uname -r)
$B insmod "/usr/lib/uml/modules/$RELEASE/kernel/fs/overlayfs/overlay.ko" || give_up "cannot load overlayfs"
$B mount -t tmpfs -o size=50% lab /mnt
$B mkdir /mnt/upper /mnt/work /mnt/root /mnt/hidden
$B mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work lab $N || give_up "cannot mount the overlay"

# Keep hold of directories that the file systems below are about to cover.
I=0
while read -r D; do
    I=$((I + 1))
    $B mkdir /mnt/hidden/$I && $B mount --bind "$N$D" /mnt/hidden/$I || give_up "cannot show $D"
done <"$W/hidden"

$B mount -t proc proc $N/proc
$B mount -t sysfs sysfs $N/sys
$B mount -t devtmpfs devtmpfs $N/dev
$B mkdir -p $N/dev/pts $N/dev/shm
$B mount -t devpts devpts $N/dev/pts
# There is no udev to make these.
$B ln -sf /proc/self/fd $N/dev/fd
$B ln -sf /proc/self/fd/0 $N/dev/stdin
$B ln -sf /proc/self/fd/1 $N/dev/stdout
$B ln -sf /proc/self/fd/2 $N/dev/stderr
for D in /dev/shm /run /tmp; do $B mount -t tmpfs -o size=90%,mode=1777 lab $N$D; done
$B mkdir -p $N/run/lock $N/run/lab

I=0
while read -r D; do
    I=$((I + 1))
    $B mkdir -p "$N$D" && $B mount --bind /mnt/hidden/$I "$N$D" || give_up "cannot show $D"
done <"$W/hidden"

# The one place that the guest shares with the machine.
$B mount -t hostfs -o "$W" lab $N/run/lab || give_up "cannot mount $W"

# modprobe looks in /lib/modules only.
$B mkdir -p $N/lib/modules
$B ln -sfn "/usr/lib/uml/modules/$RELEASE" "$N/lib/modules/$RELEASE"
$B hostname lab
$B ip link set lo up
exec $B chroot $N $B sh /run/lab/agent
