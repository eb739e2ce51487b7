#!/bin/sh
# The init system of a test node (PID 1 after boot.sh): starts containerd, kubelet and kube-proxy,
# starts them again when they end, reaps orphans, and reboots on SIGTERM or powers off on SIGUSR2,
# which is what busybox's `reboot` and `poweroff` without -f send to PID 1.
set -u
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
trap 'busybox reboot -f' TERM
trap 'busybox poweroff -f' USR2

# The network namespace outlives the node's boots; a real kernel starts with empty tables.
ip link set lo up
for table in filter nat mangle; do
    iptables --table "$table" --flush
    iptables --table "$table" --delete-chain
done

supervise() {
    log=/var/log/$1.log
    while :; do
        "$@" >> "$log" 2>&1 < /dev/null
        echo "$1 ended with status $?, starting it again" >> "$log"
        sleep 1
    done
}

supervise containerd --config /etc/containerd/config.toml --log-level info &
until [ -S /run/containerd/containerd.sock ]; do
    sleep 0.1
done
name=$(cat /etc/hostname)
supervise kubelet --config /etc/kubernetes/kubelet.yaml --kubeconfig /etc/kubernetes/kubelet.kubeconfig \
    --hostname-override "$name" --node-ip "$(cat /etc/node/address)" &
supervise kube-proxy --config /etc/kubernetes/kube-proxy.yaml --hostname-override "$name" &

while :; do
    wait
    sleep 1
done
