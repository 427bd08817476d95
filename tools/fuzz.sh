#!/bin/sh
# Builds the fuzz targets with clang and libFuzzer, under sanitizers, and runs each for its share of
# the time, on what testdata/fuzz holds and build-fuzz/corpus has grown to. Prints executions and
# coverage; findings are left in build-fuzz/found, and the status is 1 when there are any: crashes,
# leaks, undefined behaviour, more than a second (10 for a target's first) or 2.5 GB.
#   tools/fuzz.sh MINUTES [TARGET...]
#   tools/fuzz.sh --keep                   adds inputs that reach new code to testdata/fuzz
set -eu
cd "$(dirname "$0")/.."

all="compile external model npy npz overrides passes picture pipeline preprocess qcal run tensor"
most=20000 # bytes of an input
kept=40    # inputs that --keep keeps of a target

build() {
    [ -f build-fuzz/build.ninja ] || CC=clang-19 meson setup build-fuzz -Dfuzz=true \
        -Dbuildtype=debugoptimized -Db_ndebug=false -Donednn=disabled -Db_lundef=false \
        -Db_sanitize=address,undefined \
        -Dc_args='-fsanitize=fuzzer-no-link -fno-sanitize=function -fno-sanitize-recover=undefined
            -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION'
    meson compile -C build-fuzz >/dev/null
}

# corpus TARGET: its folder of inputs, with the test models of libonnx-testdata that are small
corpus() {
    [ -d "build-fuzz/corpus/$1" ] && return
    mkdir -p "build-fuzz/corpus/$1"
    case $1 in compile | model | passes | run)
        find /usr/share/libonnx-testdata -name model.onnx -size -4k 2>/dev/null | while read -r f; do
            cp "$f" "build-fuzz/corpus/$1/$(basename "$(dirname "$f")")"
        done ;;
    esac
}

# fuzz TARGET SECONDS: prints one line; fails when something was found
fuzz() {
    corpus "$1"
    log=build-fuzz/$1.log
    status=0
    "build-fuzz/tests/fuzz/fuzz_$1" -max_total_time="$2" -max_len=$most -timeout=10 \
        -report_slow_units=1 -rss_limit_mb=2500 -malloc_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="build-fuzz/found/$1-" "build-fuzz/corpus/$1" "testdata/fuzz/$1" \
        >"$log" 2>&1 || status=1
    done=$(sed -n 's/stat::number_of_executed_units: *//p' "$log")
    covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
    ls "build-fuzz/found/$1-"* >/dev/null 2>&1 && status=1
    echo "$1: ${done:-0} executions, ${covered:-0} edges, $([ $status = 0 ] && echo clean || echo "FOUND, see $log")"
    return $status
}

# keep TARGET: adds some of the inputs that a smallest corpus consists of, of all sizes, to those that
# testdata/fuzz holds (past findings, which stay)
keep() {
    rm -rf "build-fuzz/small/$1"
    mkdir -p "build-fuzz/small/$1" "testdata/fuzz/$1"
    "build-fuzz/tests/fuzz/fuzz_$1" -merge=1 -max_len=2000 "build-fuzz/small/$1" \
        "testdata/fuzz/$1" "build-fuzz/corpus/$1" >"build-fuzz/$1.log" 2>&1
    count=$(ls "build-fuzz/small/$1" | wc -l)
    ls -S "build-fuzz/small/$1" | awk -v n="$count" -v k=$kept 'n <= k || int(NR * k / n) > int((NR - 1) * k / n)' |
        while read -r f; do cp "build-fuzz/small/$1/$f" "testdata/fuzz/$1/"; done
}

tools/setup.sh build fuzz
build
mkdir -p build-fuzz/found
if [ "${1:-}" = --keep ]; then
    for target in $all; do keep "$target"; done
    exit
fi
[ $# -gt 0 ] || { echo "usage: tools/fuzz.sh MINUTES [TARGET...]" >&2; exit 2; }
minutes=$1
shift
[ $# -gt 0 ] || set -- $all
export UBSAN_OPTIONS=print_stacktrace=1 ASAN_SYMBOLIZER_PATH=/usr/bin/llvm-symbolizer-19
failed=0
for target; do fuzz "$target" $((minutes * 60 / $#)) || failed=1; done
exit $failed
