#!/bin/sh
# Connects a test node's network namespace to the bridge of the control plane's.
#
# usage: network.sh CONTROL_NAMESPACE NODE_NAMESPACE PORT GATEWAY ADDRESS POD_RANGE
#   PORT       name of the bridge's end of the cable
#   GATEWAY    address of the bridge in the control plane's namespace, without a length
#   ADDRESS    the node's address in the same /24, without a length
# Everything a node sends elsewhere goes through the control plane's namespace, which knows the way to
# each node's Pods: a node that comes later needs no change on the others.
set -eu
control=$1 node=$2 port=$3 gateway=$4 address=$5 pods=$6

bridge=$(ip -netns "$control" -oneline address show to "$gateway" | sed 's/^[0-9]*: *\([^ ]*\) .*/\1/;q')
if [ -z "$bridge" ]; then
    echo "network.sh: no device of namespace $control has the address $gateway" >&2
    exit 1
fi
ip netns add "$node"
ip link add eth0 netns "$node" type veth peer name "$port" netns "$control"
ip -netns "$control" link set "$port" master "$bridge" up
ip -netns "$control" route add "$pods" via "$address"
ip -netns "$node" link set lo up
ip -netns "$node" address add "$address/24" dev eth0
ip -netns "$node" link set eth0 up
ip -netns "$node" route add default via "$gateway"

# sysctls of a network namespace are those of whoever opens the file, so that this runs inside.
for namespace in "$control" "$node"; do
    nsenter --net="/run/netns/$namespace" sh -c '
        echo 1 > /proc/sys/net/ipv4/ip_forward
        for file in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 > "$file"; done'
done
