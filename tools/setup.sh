#!/bin/sh
# Installs the Debian packages that building (and testing) needs; does nothing when all are there.
#   tools/setup.sh [build] [test] [fuzz] [mpi]      default: build
set -eu

build="gcc libc6-dev make meson ninja-build pkg-config protobuf-c-compiler protobuf-compiler
       libprotobuf-c-dev libjansson-dev libjpeg-dev libpng-dev libwebp-dev zlib1g-dev libdnnl-dev libxxhash-dev"
test="git g++ libcmocka-dev libonnx-dev libonnx-testdata python3-venv python3-pip ca-certificates
      clang-19 libclang-rt-19-dev qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross
      gcc-arm-linux-gnueabihf libc6-dev-armhf-cross gcc-riscv64-linux-gnu libc6-dev-riscv64-cross
      chromium fonts-dejavu-core"
fuzz="clang-19 libclang-rt-19-dev llvm-19"
mpi="openmpi-bin" # for one test, of an example

wanted=
for group in "${@:-build}"; do
    case $group in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    fuzz) wanted="$wanted $fuzz" ;;
    mpi) wanted="$wanted $mpi" ;;
    *) echo "setup.sh: unknown group '$group'; want build, test, fuzz or mpi" >&2; exit 2 ;;
    esac
done

if ! command -v dpkg-query >/dev/null; then
    echo "setup.sh: not a Debian system, nothing installed; needed:" $wanted >&2
    exit 0
fi

missing=
for package in $wanted; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "setup.sh: as root, install:$missing" >&2; exit 1; }
    as_root=sudo
fi
echo "setup.sh: installing$missing"
$as_root apt-get -q update
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing
