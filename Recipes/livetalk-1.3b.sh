#!/usr/bin/env bash
# The published recipe at its size: from a dataset folder and published weights to a 4-step student.
#
#   Recipes/livetalk-1.3b.sh DATASET WEIGHTS OUT
#     DATASET   a folder with metadata.jsonl (see docs/TRAINING.md)
#     WEIGHTS   a checkpoint folder with the encoders and, as transformer, the bidirectional teacher (OmniAvatar 1.3B, LoRA merged by
#               `livetalk checkpoint merge`)
#     LAUNCH="torchrun --no-python --nproc-per-node 8"   how to start a stage on several GPUs
#     STEPS_TEACHER=0   steps of fine-tuning the teacher on the dataset first
#
# Every stage can be interrupted and resumed. Steps, learning rates and guidance are those of the presets: `livetalk train dmd
# --config livetalk-1.3b.dmd --show-config` prints them.
set -euo pipefail
cd "$(dirname "$0")/.."
. Recipes/common.sh

usage="usage: Recipes/livetalk-1.3b.sh DATASET WEIGHTS OUT"
dataset=${1:?"$usage"} weights=${2:?"$usage"} out=${3:?"$usage"}
teacher=$weights

stage "clips as latents" "$livetalk" data prepare "$dataset" --out "$out/latents" --kind latents --checkpoint "$weights"
if [ "${STEPS_TEACHER:-0}" -gt 0 ]; then
  stage "teacher" train teacher --config livetalk-1.3b.teacher --data "$out/latents" --checkpoint "$weights" \
    --out "$out/teacher" --set "run.steps=$STEPS_TEACHER"
  teacher=$out/teacher/final
fi
stage "trajectories of the teacher" \
  "$livetalk" trajectories --data "$out/latents" --teacher "$teacher" --out "$out/trajectories"
stage "student: ODE initialisation" train ode --config livetalk-1.3b.ode --data "$out/trajectories" --checkpoint "$teacher" \
  --out "$out/ode"
stage "student: distribution matching" train dmd --config livetalk-1.3b.dmd --data "$out/latents" --checkpoint "$out/ode/final" \
  --teacher "$teacher" --out "$out/dmd"
say "done: $out/dmd/final"
