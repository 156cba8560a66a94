#!/usr/bin/busybox sh
# The first and only service of the guest: brings the kernel up as far as the tests need, runs them,
# and tells the machine outside on the second serial line. Lines of its own begin with "@".

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/socklb/busybox
/usr/bin/busybox mkdir -p /socklb/busybox
/usr/bin/busybox --install -s /socklb/busybox
[ -e /bin/sh ] || ln -s /usr/bin/busybox /bin/sh

mkdir -p /proc /sys /dev /run /tmp /root /var/log/nginx /var/lib/nginx /var/lib/misc
chmod 1777 /tmp
ln -s /run /var/run
ln -s /tmp /var/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/mounts /etc/mtab
ip link set lo up

exec 3<>/dev/ttyS1
stty raw -echo <&3
tell() { printf '\n%s\n' "@$*" >&3; }
# Prints a file, each line with words of ours before it.
tell_lines() { sed "s/^/@$1 /" "$2" >&3; }

tell kernel "$(uname -r)"
while read -r module; do
    insmod "/socklb/modules/$module.ko" || tell broken "cannot load the module $module"
done </socklb/modules/order

# A machine that nobody ends any more ends itself.
(sleep "$(cat /socklb/limit)"; reboot -f) &

cd /root || exit
export HOME=/root RUST_BACKTRACE=1 SOCKLB_SKIPS=/tmp/skips
# An emulated machine beside other work takes fifty times as long as a real one: ten thousand connects
# are minutes.
export SOCKLB_LAB_LIMIT=600
while read -r name program <&4; do
    tell begin "$name"
    : >/tmp/skips
    # The names hold no blanks. One test at a time: an emulated machine is slow, and some tests have
    # time limits.
    # shellcheck disable=SC2046
    "$program" --exact --color=never --test-threads=1 $(cat "/socklb/tests/$name") \
        </dev/null >&3 2>/tmp/errors 3>&- 4<&-
    code=$?
    [ $code -eq 0 ] || tail -n 50 /tmp/errors >&3
    tell_lines skip /tmp/skips
    tell end "$code"
done 4</socklb/plan

"$(cat /socklb/agent)" check --json >/tmp/check 2>/tmp/check.errors
code=$?
tell_lines check /tmp/check
tell_lines check-error /tmp/check.errors
tell checked "$code"
tell done
sleep 60
reboot -f
