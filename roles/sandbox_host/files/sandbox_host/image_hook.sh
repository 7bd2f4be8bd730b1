#!/bin/sh
# Finishes a base image. $1: its root directory; the rest: packages to fetch, not to install.
set -eu
root=$1
shift
systemctl --root="$root" enable systemd-networkd.service ssh.service >/dev/null
# Every host gets a host key of its own when it is unpacked.
rm -f "$root"/etc/ssh/ssh_host_*
chroot "$root" apt-get clean
chroot "$root" apt-get install --yes --no-install-recommends --download-only "$@" >/dev/null
rm -f "$root"/var/cache/apt/*.bin
