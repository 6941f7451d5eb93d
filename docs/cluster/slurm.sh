#!/usr/bin/env bash
# Data-parallel training under Slurm: `sbatch docs/cluster/slurm.sh mnist runs/mnist --set training.batch_size=400`.
# One task on each node; the run folder lies on a file system that all nodes see. Slurm sends SIGTERM before the time is over:
# a checkpoint is written, the job is queued again, and goes on from there.
#SBATCH --job-name=vae_tf
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail

preset=$1 run=$2
shift 2
port=$((12000 + SLURM_JOB_ID % 20000))
VAE_TF_ADDRESSES=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/.*/\"&:$port\"/" | paste -sd,)
export VAE_TF_ADDRESSES

# shellcheck disable=SC2016  # each task fills in its own number
srun --kill-on-bad-exit=1 bash -c '
  printf -v TF_CONFIG "{\"cluster\": {\"worker\": [%s]}, \"task\": {\"type\": \"worker\", \"index\": %d}}" "$VAE_TF_ADDRESSES" "$SLURM_PROCID"
  export TF_CONFIG
  exec python -m vae_tf train "$@"
' train "$preset" --run "$run" --resume "$@"
code=$?
if [ "$code" -eq 75 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
