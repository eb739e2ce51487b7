#!/bin/sh
# Stand-in for kairos-agent in test images: takes exactly the command lines that the real one is given, finds the node's systems
# where the real one does, and leaves them as an upgrade with two systems does. What the node boots next is up to the node.
#
# The node's state partition is mounted at /run/initramfs/cos-state. A system is a file there, and holds its release file:
#   active, passive, recovery   the systems; passive is what active was before
#   active.broken               the active system does not boot, so the node falls back to the passive one
#   calls                       one line for each call of this program
# /etc/stand-in in the image says how the upgrade goes: works, fails, hangs, falls-back.
set -eu
state=/run/initramfs/cos-state

fail() {
    echo "kairos-agent: $*" >&2
    exit 1
}

case "$*" in
"upgrade --help")
    echo "   --source value  --recovery  --exclude-path value"
    exit
    ;;
esac
all=$(printf '%s|' "$@" | tr '\n' '/')

[ "${1:-}" != --debug ] || shift
[ "${1:-}" = upgrade ] || fail "unknown command line $all"
shift
system=active
if [ "${1:-}" = --recovery ]; then
    system=recovery
    shift
fi
[ "${1:-} ${2:-}" = "--source dir:/" ] || fail "no source dir:/ in $all"
shift 2
case $all in
*"--exclude-path|/etc/hostname|--exclude-path|/etc/hosts|"*) ;;
*) fail "the container's own files are not left out in $all" ;;
esac
while [ "$#" -gt 0 ]; do
    [ "$1" = --exclude-path ] && [ "$#" -ge 2 ] || fail "unknown option $1 in $all"
    shift 2
done
[ "$(id -u)" = 0 ] || fail "not root"
[ -e /dev/node-name ] || fail "/dev is not the node's"
[ -d "$state" ] || fail "/run is not the node's: no state partition"

echo "$all" >> "$state/calls"
case $(cat /etc/stand-in) in
works) broken='' ;;
falls-back) broken=yes ;;
fails) fail "failed to write the $system system: no space left on device" ;;
hangs)
    while :; do
        sleep 1
    done
    ;;
*) fail "no behaviour in /etc/stand-in" ;;
esac
if [ "$system" = active ]; then
    cp "$HOST_DIR/etc/kairos-release" "$state/passive"
    rm -f "$state/active.broken"
    [ -z "$broken" ] || : > "$state/active.broken"
fi
cp /etc/kairos-release "$state/$system.transition"
sync
mv "$state/$system.transition" "$state/$system"
echo "upgraded the $system system"
