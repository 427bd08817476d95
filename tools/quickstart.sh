#!/bin/sh
# Builds qonnx and takes the bundled digits model to int8 and to C: calibrate, quantize, evaluate,
# compile, and run what was compiled.
set -eu
cd "$(dirname "$0")/.."

show() {
    echo "\$ $*"
    "$@"
    echo
}

tools/setup.sh build
[ -f build/build.ninja ] || meson setup build
meson compile -C build
echo

show build/qonnx calibrate testdata/digits.onnx testdata/digits/photos \
     --resize 'short:8{filter=box}' -o build/digits.qcal
show build/qonnx quantize testdata/digits.onnx --calibration build/digits.qcal \
     --data testdata/digits/photos -o build/digits.int8.onnx
show build/qonnx evaluate testdata/digits.onnx build/digits.int8.onnx --data testdata/digits/test

show build/qonnx compile build/digits.int8.onnx -o build/digits-c --prefix digits --io int8 \
     --data testdata/digits/test
show make -s -C build/digits-c test

echo "float: $(wc -c <testdata/digits.onnx) bytes, int8: $(wc -c <build/digits.int8.onnx) bytes"
