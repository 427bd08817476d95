#!/bin/sh
# Runs commands in a bare Debian system, on a clean copy of what is committed: whether the README's
# commands work where users are. Needs root, debootstrap, git and a Debian-like machine, whose mirror,
# proxies and certificates are used inside, too.
#   tools/debian.sh SUITE [COMMAND]     SUITE: bookworm, trixie, ...; COMMAND by default
#                                       'sh tools/quickstart.sh && sh tools/check.sh'
# The system is made in build/debian/SUITE, anew every time. MIRROR=URL names another mirror, and
# QONNX_SHARED=FOLDER the larger models (by default ../shared; read only).
set -eu
cd "$(dirname "$0")/.."

die() {
    echo "debian.sh: $1" >&2
    exit 1
}

[ $# -gt 0 ] || { echo "usage: tools/debian.sh SUITE [COMMAND]" >&2; exit 2; }
suite=$1
command=${2:-sh tools/quickstart.sh && sh tools/check.sh}
root=$PWD/build/debian/$suite
certificates=/etc/host-certificates.crt # in the system
shared=$(readlink -f "${QONNX_SHARED:-../shared}")

[ "$(id -u)" = 0 ] || die "needs root"
command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"

# mirror: where this machine has Debian's packages from, or nothing
mirror() {
    apt-get indextargets --format '$(ORIGIN)/$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian/Debian" && !found { print $2; found = 1 }'
}

# system: the bare system, with this machine's way to the network
system() {
    rm -rf --one-file-system "$root"
    mkdir -p "$root" build/debian/packages
    debootstrap --variant=minbase --cache-dir="$PWD/build/debian/packages" "$suite" "$root" \
        ${MIRROR:-$(mirror)} >"build/debian/$suite.log" || die "debootstrap failed: see build/debian/$suite.log"
    apt-config dump | grep -E '^Acquire::(http|https|Check|Retries)' >"$root/etc/apt/apt.conf.d/host" || true
    for file in resolv.conf hosts pip.conf; do
        [ ! -f "/etc/$file" ] || cp -L "/etc/$file" "$root/etc/"
    done
    [ ! -f /etc/ssl/certs/ca-certificates.crt ] ||
        cp -L /etc/ssl/certs/ca-certificates.crt "$root$certificates"
}

# copy: a clone in /qonnx, and a place for the larger models beside it
copy() {
    git clone -q . "$root/qonnx"
    mkdir "$root/shared"
}

# enter COMMAND: runs it in the system, in a namespace that takes its mounts with it when it ends
enter() {
    set -- "$1" $(env | grep -iE '^([a-z]+_proxy|PIP_[A-Z_]*|CI|QONNX_LONG)=' |
        grep -v '^PIP_\(CERT\|FIND_LINKS\)=')
    command=$1
    shift
    [ ! -f "$root$certificates" ] || set -- "$@" PIP_CERT=$certificates
    unshare --mount --pid --fork sh -eu -c '
        root=$1 shared=$2
        shift 2
        mount --rbind /dev "$root/dev"
        mount -t proc proc "$root/proc"
        mount -t tmpfs tmpfs "$root/tmp"
        [ ! -d "$shared" ] || { mount --bind "$shared" "$root/shared"; mount -o remount,ro,bind "$root/shared"; }
        exec chroot "$root" env -i "$@"
    ' enter "$root" "$shared" HOME=/root LANG=C.UTF-8 TERM=dumb \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        "$@" sh -c "cd /qonnx && $command"
}

system
copy
enter "$command"
