#!/bin/sh
# PID 1 of a test node, from the new namespaces to its own root file system.
#
# environment: NODE_FOLDER, NODE_NAME, NODE_LOWER (overlay lower folders), NODE_CGROUPS
#
# Safety: everything that may call reboot(2) runs behind the pivot_root at the end, in this PID
# namespace. A chroot would not do: `nsenter --mount --target 1` would land in the machine's root.
set -eu
node=$NODE_FOLDER
root=$node/root

# /proc is still the machine's, so this is the process id as the machine counts. The shell itself
# opens the file: "self" is this process.
read -r pid rest < /proc/self/stat
if [ "$$" -ne 1 ] || [ "$pid" -eq 1 ]; then
    echo "boot.sh: not the first process of a PID namespace of its own: refusing to boot" >&2
    exit 1
fi
for group in $NODE_CGROUPS; do
    echo 0 > "$group/init/cgroup.procs"
done
echo "$NODE_NAME" > /proc/sys/kernel/hostname
cat /proc/sys/kernel/random/uuid > "$node/boot-id"

mount -t overlay -o "lowerdir=$NODE_LOWER,upperdir=$node/upper,workdir=$node/work" node "$root"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
# What early boot leaves there, such as the marker files of Kairos.
if [ -d "$node/run" ]; then
    cp -R "$node/run/." "$root/run/"
fi
mount -t tmpfs tmpfs "$root/tmp"

# The state partition of a Kairos node, and its boot menu: once an upgrade has written systems there, one of them is booted
# (assets/kairos-agent.sh).
mkdir -p "$node/state" "$root/run/initramfs/cos-state"
mount --bind "$node/state" "$root/run/initramfs/cos-state"
if [ -e "$node/state/active" ]; then
    system=active label=COS_ACTIVE
    if [ -e "$node/state/active.broken" ]; then
        system=passive label=COS_PASSIVE
    fi
    cp "$node/state/$system" "$root/etc/kairos-release"
    echo "BOOT_IMAGE=/boot/vmlinuz console=tty1 root=LABEL=$label" > "$node/cmdline"
fi

# Overlay does not stack on overlay: containers and volumes need a plain folder.
for folder in containerd kubelet; do
    mkdir -p "$node/$folder" "$root/var/lib/$folder"
    mount --bind "$node/$folder" "$root/var/lib/$folder"
done

# A fresh sysfs shows the devices of this network namespace; cgroups come from the machine.
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
if [ -e "$root/sys/class/dmi/id/product_uuid" ]; then
    mount --bind "$node/system-uuid" "$root/sys/class/dmi/id/product_uuid"
fi

# Only harmless devices: a privileged Pod gets all of its node's, and must not see the machine's disks.
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty kmsg; do
    cp -a "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
echo "$NODE_NAME" > "$root/dev/node-name"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

mount -t proc proc "$root/proc"
mount --bind "$node/boot-id" "$root/proc/sys/kernel/random/boot_id"
mount --bind "$node/cmdline" "$root/proc/cmdline"
# This file reboots the machine, whatever PID namespace the writer is in.
if [ -e "$root/proc/sysrq-trigger" ]; then
    mount --bind "$root/dev/null" "$root/proc/sysrq-trigger"
fi

echo "$pid" > "$node/init.pid"
echo "booted $(date +%s) $(cat "$node/boot-id")" >> "$node/boots"

mkdir -p "$root/old-root"
cd "$root"
pivot_root . old-root
cd /
umount --lazy /old-root
mount --make-rshared /
exec sh /usr/local/lib/node/init.sh < /dev/null
