#!/bin/sh
# Calibrates with Open MPI: each rank takes a shard, in a folder that all of them can reach; then the
# shards are merged. Started again after a failure, it goes on where the ranks were.
#   mpi.sh MODEL DATA OUT.qcal [OPTION-OF-MPIRUN...]
set -eu
model=$1 data=$2 out=$3
shift 3

folder=$out.shards
mkdir -p "$folder"
mpirun "$@" sh -c '
    shard=$((OMPI_COMM_WORLD_RANK + 1))
    exec qonnx calibrate "$1" "$2" -o "$3/$shard.qcal" --shard "$shard/$OMPI_COMM_WORLD_SIZE" \
        -q -j 1 --resume' rank "$model" "$data" "$folder"
qonnx merge "$folder"/*.qcal -o "$out"
rm -r "$folder"
