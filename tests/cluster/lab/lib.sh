# shellcheck shell=bash
# shellcheck disable=SC2034 # the names are for those who source this
# Shared by the scripts of the lab: sourced, not run. Names what belongs to a lab and where it is,
# and starts and finds its processes.

lab=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$lab/../../../scripts/lib.sh"

kubernetes=1.34.4
# Built once, kept for all checkouts. A program is there under its name only when it is complete.
programs="${cache:?}/kubernetes-$kubernetes/bin"
images="$cache/kubernetes-$kubernetes/images"

# All state of one lab. A short path: sockets are below it, and theirs end at 108 bytes.
run=${WARDLINK_LAB_RUN:-/tmp/wardlink-lab}

# Of whole nodes one set fits on a machine: their bridge, routes and cgroups have fixed names.
bridge=lab0
cgroup=lab
host_ip=10.201.0.1
node_net=10.201.0
pod_net=10.200
service_net=10.202.0.0/16
api_service_ip=10.202.0.1
dns_ip=10.202.0.10
node_ip() { printf '%s.%d\n' "$node_net" $((10 + $1)); }

# Where Debian's containerd and runc are: unpacked, because the installed package would start a
# service.
container_path() {
    local containerd runc
    containerd=$(debian_unpacked containerd) && runc=$(debian_unpacked runc) || return
    printf '%s\n' "$containerd/usr/bin:$runc/usr/sbin"
}

# elapsed: seconds since the script began.
begun=$EPOCHREALTIME
elapsed() { awk -v from="$begun" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", to - from }'; }

# until_true SECONDS WHAT COMMAND...: looks ten times a second.
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -gt "$end" ]; then
            say "waited in vain: $what"
            return 1
        fi
        sleep 0.1
    done
}

# started PID: when this process started, in the kernel's ticks. With it a number that came again
# is not taken for the process that was recorded.
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'; }

# spawn NAME COMMAND...: in a session of its own, output to a log, pid and start recorded.
spawn() {
    local name=$1
    shift
    setsid "$@" >"$run/logs/$name.log" 2>&1 </dev/null &
    printf '%s %s\n' "$!" "$(started "$!")" >"$run/pids/$name"
}

# alive NAME: prints the pid of a spawned process, if it still runs.
alive() {
    local pid start
    [ -f "$run/pids/$1" ] && read -r pid start <"$run/pids/$1" || return 1
    [ -n "$start" ] && [ "$(started "$pid")" = "$start" ] && printf '%s\n' "$pid"
}
gone() { ! alive "$1" >/dev/null; }

# stop SECONDS NAME...: SIGTERM to all, and SIGKILL to what is there after that time.
stop() {
    local seconds=$1 name pid
    shift
    for name; do
        ! pid=$(alive "$name") || kill "$pid" 2>/dev/null || true
    done
    for name; do
        until_true "$seconds" "$name ends" gone "$name" || kill -KILL "$(alive "$name")" 2>/dev/null || true
        rm -f "$run/pids/$name"
    done
}

# mounts FOLDER: what is mounted below it, the innermost first.
mounts() { awk -v below="$1/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r; }
