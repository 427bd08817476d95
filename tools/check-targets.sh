#!/bin/sh
# Compiles every model of the shared folder to C and runs it on every target there is, by emulators
# where need be: the outputs must be the bytes of `qonnx run`. Takes an hour; tests/test_compile.py
# does a small part of it in every check.
#   tools/check-targets.sh [--install] [OPTION OF tests/targets.py]...
set -eu
cd "$(dirname "$0")/.."

if [ "${1:-}" = --install ]; then
    shift
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends gcc-12 clang-19 \
        gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-arm-linux-gnueabihf libc6-dev-armhf-cross \
        gcc-riscv64-linux-gnu libc6-dev-riscv64-cross gcc-arm-none-eabi libnewlib-arm-none-eabi \
        qemu-user qemu-system-arm
fi

python=build/venv/bin/python
[ -x $python ] || { echo "check-targets.sh: run tools/check.sh first: it makes build/venv" >&2; exit 1; }
exec $python tests/targets.py "$@"
