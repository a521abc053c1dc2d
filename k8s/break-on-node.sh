# The part of break.sh that runs on the pod's node. Arguments: HOW, the pod's uid, the directory of the container's logs.
# shellcheck shell=sh
set -eu
proc=${PROC:-/proc}
cgroups=${CGROUPS:-/sys/fs/cgroup}

# A pod's cgroups have its uid in their name, written with _ where systemd made them.
pid=
for process in "$proc"/[0-9]*; do
    if [ "$(cat "$process/comm" 2>/dev/null)" = service ] &&
        grep -q -e "$2" -e "$(echo "$2" | tr - _)" "$process/cgroup"; then
        pid=${process##*/}
    fi
done
if [ -z "$pid" ]; then
    echo "No process called service runs here in pod $2." >&2
    exit 1
fi
case $1 in
crash) kill -KILL "$pid" ;;
stuck) kill -STOP "$pid" ;;
memory) echo 1M >"$cgroups$(sed -n 's/^0:://p' "$proc/$pid/cgroup")/memory.max" ;;
disk) head -c 314572800 /dev/zero >"$3/fill.log" ;;
esac
