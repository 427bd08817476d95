#!/bin/sh
# Builds the command for arm64 and shows, under an emulator, that it writes what the one for this
# machine writes (build/qonnx): tests/test_arm64.py. Runs on Debian and Ubuntu; nothing of arm64 is
# installed: the libraries are unpacked into build/arm64/root.
#   tools/arm64.sh [PYTEST-OPTION...]
set -eu
cd "$(dirname "$0")/.."

python=build/venv/bin/python
[ -x $python ] || { echo "arm64.sh: run tools/check.sh first: it makes build/venv" >&2; exit 1; }
tools/setup.sh build test

work=$PWD/build/arm64
root=$work/root
packages="libc6-dev libprotobuf-c-dev libjansson-dev libjpeg-dev libpng-dev libwebp-dev zlib1g-dev libxxhash-dev"

# apt OPTION...: apt-get for a system of arm64 in which nothing is installed
apt() {
    apt-get -q -y -o APT::Architecture=arm64 -o APT::Architectures::=arm64 \
        -o Dir::State::lists="$work/apt/lists" -o Dir::State::status="$work/apt/status" \
        -o Dir::Cache="$work/apt" -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 "$@"
}

# libraries: those of arm64, unpacked
libraries() {
    [ ! -d "$root" ] || return 0
    mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial"
    : >"$work/apt/status"
    apt update
    apt install --download-only --no-install-recommends $packages
    mkdir -p "$root.part"
    for package in "$work/apt/archives/"*.deb; do dpkg-deb -x "$package" "$root.part"; done
    [ -e "$root.part/lib" ] || ln -s usr/lib "$root.part/lib"
    mv "$root.part" "$root"
}

# build: with the cross compiler, on those libraries
build() {
    cat >"$work/arm64.ini" <<EOF
[binaries]
c = 'aarch64-linux-gnu-gcc'
ar = 'aarch64-linux-gnu-ar'
strip = 'aarch64-linux-gnu-strip'
pkgconfig = 'pkg-config' # its name before meson 1.3
pkg-config = 'pkg-config'
exe_wrapper = ['qemu-aarch64', '-L', '$root']
[built-in options]
c_args = ['--sysroot=$root']
c_link_args = ['--sysroot=$root']
[properties]
sys_root = '$root'
pkg_config_libdir = '$root/usr/lib/aarch64-linux-gnu/pkgconfig:$root/usr/share/pkgconfig'
[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
EOF
    [ -f "$work/build/build.ninja" ] ||
        meson setup --werror -Dtests=false --cross-file "$work/arm64.ini" "$work/build"
    meson compile -C "$work/build"
}

libraries
build
build
[ -f build/build.ninja ] || meson setup build
meson compile -C build
QONNX_ARM64="qemu-aarch64 -L $root $work/build/qonnx" \
    exec $python -m pytest -q -rs -p no:cacheprovider -n "$(nproc)" tests/test_arm64.py "$@"
