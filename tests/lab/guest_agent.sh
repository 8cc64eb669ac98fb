# The guest's PID 1 once the file system stands: does what the lab asks for over the first serial line.
#
#   RUN n   run /run/lab/n.sh as its own session, output to n.out and n.err, and answer "DONE n STATUS"
#   KILL n  kill what RUN n started
#   SIGNAL n SIGNAL
#           send a signal to the first process of RUN n
#   SHELL   an interactive shell on the second serial line; answer "DONE shell STATUS"
. /run/lab/environment
# What a shell starts in the background ignores SIGINT for good, and a Python in it never raises KeyboardInterrupt.
DEFAULT_SIGNALS="/usr/bin/env --default-signal=INT,QUIT"
# Commands get /bin/sh, not busybox's shell, which would run its own dd or blockdev instead of the machine's.
exec 3<>/dev/ttyS0
busybox stty raw -echo <&3
cd "$LAB_PROJECT" || exit
echo READY >&3
while read -r REQUEST JOB SIGNAL <&3; do
    case $REQUEST in
    RUN)
        (
            exec 3>&-
            busybox setsid $DEFAULT_SIGNALS /bin/sh "/run/lab/$JOB.sh" \
                <"/run/lab/$JOB.in" >"/run/lab/$JOB.out" 2>"/run/lab/$JOB.err"
            echo "DONE $JOB $?" >/dev/ttyS0
        ) &
        ;;
    KILL) busybox kill -KILL "-$(busybox cat "/run/lab/$JOB.pid")" 2>/dev/null ;;
    SIGNAL) busybox kill "-$SIGNAL" "$(busybox cat "/run/lab/$JOB.pid")" 2>/dev/null ;;
    SHELL)
        (
            exec 3>&-
            busybox setsid -c $DEFAULT_SIGNALS /bin/sh /run/lab/shell </dev/ttyS1 >/dev/ttyS1 2>&1
            echo "DONE shell $?" >/dev/ttyS0
        ) &
        ;;
    esac
done
busybox poweroff -f
