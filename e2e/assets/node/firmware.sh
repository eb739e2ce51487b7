#!/bin/sh
# The firmware of one test node: boots it, boots it again whenever it asked for a reboot, and leaves
# it off after any other end (power cut, failed boot) until the file power-on appears in its folder.
#
# environment: NODE_FOLDER (the node's files), NODE_CGROUPS (its own cgroup in each hierarchy), and
# what boot.sh reads.
# Runs outside the node, in the node's network namespace.
set -eu
node=$NODE_FOLDER
here=${0%/*}

# A real reboot leaves no cgroup behind, so that what the last boot left is removed first.
# Processes of the node live in the leaf "init": cgroup v2 allows none beside child groups.
fresh_cgroups() {
    for group in $NODE_CGROUPS; do
        parent=${group%/*}
        if [ -d "$group" ]; then
            find "$group" -mindepth 1 -depth -type d -exec rmdir {} + || true
        fi
        mkdir -p "$group"
        if [ -e "$parent/cgroup.controllers" ]; then
            # cgroup v2: not run yet on a machine that has it. Controllers must be handed down level by level.
            for controller in $(cat "$parent/cgroup.controllers"); do
                echo "+$controller" > "$parent/cgroup.subtree_control" || true
                echo "+$controller" > "$group/cgroup.subtree_control" || true
            done
        elif [ -e "$parent/cpuset.cpus" ]; then
            # cgroup v1: a new cpuset is empty, and no process can enter it before it is filled.
            cat "$parent/cpuset.cpus" > "$group/cpuset.cpus"
            cat "$parent/cpuset.mems" > "$group/cpuset.mems"
            echo 1 > "$group/cgroup.clone_children"
        fi
        mkdir -p "$group/init"
    done
}

while :; do
    fresh_cgroups
    rm -f "$node/power-on"
    status=0
    # The node ends with unshare (--kill-child), and unshare with this script (--pdeathsig).
    setpriv --pdeathsig KILL unshare --mount --pid --fork --uts --ipc --kill-child=KILL \
        --propagation private sh "$here/boot.sh" || status=$?
    rm -f "$node/init.pid"
    # Some versions of unshare cannot pass on that their child was killed.
    if [ -e "$node/power-cut" ]; then
        rm "$node/power-cut"
        status=137
    fi
    echo "ended $status" >> "$node/boots"
    # reboot(2) with RESTART inside a PID namespace ends its init by SIGHUP: 128 + 1.
    if [ "$status" -eq 129 ]; then
        continue
    fi
    until [ -e "$node/power-on" ]; do
        sleep 0.2
    done
done
