#!/bin/bash
# Plan a dataset, build it with an array of tasks, and seal it, on a cluster with Slurm whose machines share a folder.
#
#     bash examples/slurm/build.sh /data/wavs /data/shards --bits 16 --split train=0.98,val=0.02 --on-error skip
#
# The scan runs here; TASKS=20 tasks make the shards, and the seal begins when all have ended well. Tasks that failed or
# were cancelled can be submitted again, and then the seal: sbatch --array=3,7 --export=ALL,SHARDS=…,TASKS=20 task.sbatch.
# Finished shards are kept. ACTIVATE names a file to source before audiochunk runs.
set -euo pipefail

wavs=$1 shards=$2
shift 2
tasks=${TASKS:-20}

if [ -n "${ACTIVATE:-}" ]; then source "$ACTIVATE"; fi

status=0
audiochunk plan "$wavs" --out "$shards" "$@" || status=$?
# 3: some recordings were refused, as --on-error skip allows.
if [ "$status" -ne 0 ] && [ "$status" -ne 3 ]; then exit "$status"; fi

here=$(dirname "$(realpath "$0")")
export SHARDS=$shards TASKS=$tasks ACTIVATE=${ACTIVATE:-}
array=$(sbatch --parsable --array="0-$((tasks - 1))" --export=ALL "$here/task.sbatch")
seal=$(sbatch --parsable --dependency="afterok:$array" --kill-on-invalid-dep=yes --export=ALL "$here/seal.sbatch")
echo "tasks: job $array, 0 to $((tasks - 1)); seal: job $seal"
