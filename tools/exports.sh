#!/bin/sh
# Every verb on models as exporters write them, with seeded random weights (tools/export/), compared with ONNX Runtime:
# tests/test_exports.py, and a table of what it measured.
#   tools/exports.sh [debian|torch]... [-- PYTEST-OPTION...]
# debian, the default: by the packages python3-torch and python3-torchvision; torch: by PyPI's, which are large, with both
# exporters. What is in build/exports already is not made again.
set -eu
cd "$(dirname "$0")/.."

python=build/venv/bin/python
[ -x $python ] || { echo "exports.sh: run tools/check.sh first: it makes build/venv" >&2; exit 1; }
out=build/exports

made() { # FOLDER INTERPRETER OPTION...: the models, all or none
    folder=$1 interpreter=$2
    shift 2
    [ ! -d $out/$folder ] || return 0
    rm -rf $out/.$folder
    mkdir -p $out
    $interpreter -B tools/export/torch_models.py $out/.$folder "$@"
    mv $out/.$folder $out/$folder
}

debian() {
    /usr/bin/python3 -c 'import torch, torchvision' || {
        echo "exports.sh: apt-get install --no-install-recommends python3-torch python3-torchvision" >&2; exit 1; }
    made debian /usr/bin/python3
}

torch() {
    venv=build/torch
    [ -x $venv/bin/python ] || { $python -m venv $venv && $venv/bin/python -m pip install -q torch torchvision onnx onnxscript; }
    made torch-script-13 $venv/bin/python --opset 13
    made torch-dynamo $venv/bin/python --exporter dynamo
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
