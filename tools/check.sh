#!/bin/sh
# Builds qonnx plainly and under sanitizers, and runs every test. The last line is
# "N passed, N failed[, N skipped]"; the exit status is 0 when none failed.
#   tools/check.sh [PYTEST-OPTION...]
set -eu
cd "$(dirname "$0")/.."

packages="onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6 pillow==13.0.0 scikit-learn==1.9.1 pytest==9.2.0"
logs=build/check

# build DIRECTORY [MESON-OPTION...]
build() {
    [ -f "$1/build.ninja" ] || meson setup "$@"
    meson compile -C "$1"
}

# unit_tests DIRECTORY: runs the C tests and keeps their log; failures are counted at the end
unit_tests() {
    rm -f "$1/meson-logs/testlog.json"
    CMOCKA_MESSAGE_OUTPUT=TAP meson test -C "$1" --timeout-multiplier 4 --print-errorlogs || echo "check.sh: C tests failed in $1"
}

# venv: build/venv, made anew when the list of packages changes
venv() {
    [ "$(cat build/venv/packages 2>/dev/null)" = "$packages" ] && return
    rm -rf build/venv
    /usr/bin/python3 -m venv build/venv
    build/venv/bin/pip install -q $packages
    echo "$packages" >build/venv/packages
}

tools/setup.sh build test
build build
build build-asan -Db_sanitize=address,undefined -Dbuildtype=debugoptimized
venv

rm -rf "$logs"
mkdir -p "$logs"
unit_tests build
unit_tests build-asan
build/venv/bin/python -m pytest tests -q -rfEs --junitxml="$logs/pytest.xml" "$@" || echo "check.sh: pytest failed"

exec build/venv/bin/python tools/count_tests.py build/meson-logs/testlog.json \
    build-asan/meson-logs/testlog.json "$logs/pytest.xml"
