#!/bin/sh
# Builds qonnx plainly and under sanitizers, and runs every test on all cores; tests that the
# sanitizers see too count twice. The last line is "N passed, N failed[, N skipped]"; the status is 0
# when none failed.
#   tools/check.sh [PYTEST-OPTION...]      options go to the main run of tests/*.py; -n0: in order
set -eu
cd "$(dirname "$0")/.."

packages="onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 pillow==12.1.1 opencv-python-headless==4.14.0.94
          scikit-learn==1.9.1 openvino==2026.4.1 pycocotools==2.0.11 pytest==9.2.0 pytest-xdist==3.8.0"
logs=build/check
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 # undefined behaviour fails a test

# build DIRECTORY [MESON-OPTION...]: warnings are errors here, not where users build
build() {
    if [ -f "$1/build.ninja" ]; then meson configure "$1" --werror; else meson setup --werror "$@"; fi
    meson compile -C "$1"
}

# unit_tests DIRECTORY: runs the C tests and keeps their log; failures are counted at the end
unit_tests() {
    rm -f "$1/meson-logs/testlog.json"
    CMOCKA_MESSAGE_OUTPUT=TAP meson test -C "$1" --timeout-multiplier 4 --print-errorlogs ||
        echo "check.sh: C tests failed in $1"
}

# python_tests DIRECTORY PYTEST-OPTION...: the same for the tests of the command
python_tests() {
    command=$1
    shift
    QONNX=$command/qonnx build/venv/bin/python -m pytest -q -rfEs -p no:cacheprovider \
        -n "$(nproc)" --dist worksteal \
        --junitxml="$logs/$command.xml" "$@" ||
        echo "check.sh: Python tests failed with $command/qonnx"
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
tools/lint.sh
build build
build build-asan -Db_sanitize=address,undefined -Dbuildtype=debugoptimized -Dhard=true
venv

rm -rf "$logs"
mkdir -p "$logs"
unit_tests build
unit_tests build-asan
python_tests build tests "$@"
# Left out are two that measure memory, of which the sanitizers take more.
python_tests build-asan tests/test_bad_inputs.py tests/test_mutants.py tests/test_cli.py tests/test_operators.py \
    tests/test_plugins.py tests/test_dialect.py tests/test_pictures.py tests/test_picture_resize.py tests/test_sources.py \
    --deselect tests/test_picture_resize.py::test_memory --deselect tests/test_sources.py::test_memory_of_names

exec build/venv/bin/python tools/count_tests.py build/meson-logs/testlog.json \
    build-asan/meson-logs/testlog.json "$logs/build.xml" "$logs/build-asan.xml"
