#!/bin/sh
# Calibrates in shards, as many at a time as this machine has cores; then merges them.
#   shards.sh MODEL DATA OUT.qcal SHARDS [OPTION-OF-CALIBRATE...]
set -eu
model=$1 data=$2 out=$3 shards=$4
shift 4

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
seq "$shards" | xargs -P "$(nproc)" -I{} \
    qonnx calibrate "$model" "$data" -o "$folder/{}.qcal" --shard "{}/$shards" -q -j 1 "$@"
qonnx merge "$folder"/*.qcal -o "$out"
