#!/bin/sh
# Every verb on models as exporters write them, small ones trained and large ones with seeded random weights (tools/export/),
# compared with ONNX Runtime: tests/test_exports.py, and a table of what it measured.
#   tools/exports.sh [debian|torch|tensorflow|sklearn]... [-- PYTEST-OPTION...]
# debian, the default: by the packages python3-torch and python3-torchvision; torch: by PyPI's, with both exporters, which take
# 3 GB to load and 6 GB of disk, CUDA's libraries included, without which they do not start; tensorflow: by PyPI's and tf2onnx;
# sklearn: scikit-learn's, LightGBM's and XGBoost's.
# What is in build/exports already is not made again.
set -eu
cd "$(dirname "$0")/.."

python=build/venv/bin/python
[ -x $python ] || { echo "exports.sh: run tools/check.sh first: it makes build/venv" >&2; exit 1; }
out=build/exports

made() { # FOLDER INTERPRETER SCRIPT OPTION...: the models, all or none
    folder=$1 interpreter=$2 script=$3
    shift 3
    [ ! -d $out/$folder ] || return 0
    rm -rf $out/.$folder
    mkdir -p $out
    $interpreter -B tools/export/$script $out/.$folder "$@"
    mv $out/.$folder $out/$folder
}

venv() { # NAME PACKAGE...: an environment build/NAME
    [ ! -x build/$1/bin/python ] || return 0
    $python -m venv build/$1
    name=$1
    shift
    build/$name/bin/python -m pip install -q "$@"
}

debian() {
    /usr/bin/python3 -c 'import torch, torchvision' || {
        echo "exports.sh: apt-get install --no-install-recommends python3-torch python3-torchvision" >&2; exit 1; }
    made debian /usr/bin/python3 torch_models.py
}

torch() {
    venv torch torch torchvision onnx onnxscript
    made torch-script-13 build/torch/bin/python torch_models.py --opset 13
    made torch-dynamo build/torch/bin/python torch_models.py --exporter dynamo
    made torch-script-20 build/torch/bin/python torch_models.py --opset 20
    made torch-dynamo-25 build/torch/bin/python torch_models.py --exporter dynamo --opset 25
}

tensorflow() {
    venv tensorflow tensorflow-cpu tf2onnx
    made tensorflow build/tensorflow/bin/python tensorflow_models.py
}

sklearn() {
    # without what they need only where they train elsewhere: XGBoost's libraries of CUDA
    [ -d build/sklearn ] || $python -m pip install -q --no-deps --target build/sklearn \
        skl2onnx==1.20.0 onnxmltools==1.16.0 lightgbm==4.7.0 xgboost==3.2.0
    made sklearn "env PYTHONPATH=build/sklearn $python" sklearn_models.py
}

what=""
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    what="$what $1"
    shift
done
[ $# -eq 0 ] || shift
for w in ${what:-debian}; do
    $w
done

code=0
QONNX_LONG=1 $python -m pytest -q -rfEs -p no:cacheprovider tests/test_exports.py "$@" || code=$?
$python - <<'EOT'
import json, pathlib
print("| model | exporter | SQNR in ONNX Runtime | here | file | seconds |\n|---|---|---|---|---|---|")
for path in sorted(pathlib.Path("build/exports").glob("*/*/row.json")):
    r = json.loads(path.read_text())
    print(f"| {path.parent.name} | {path.parent.parent.name} | {r['ort']:.1f} | {r['ours']:.1f} | {r['bytes']:.0%} | {r['seconds']:.0f} |")
EOT
exit $code
