#!/usr/bin/env bash
# The whole recipe at the smallest size, on a CPU: from synthetic talking heads to a 4-step student and a video. A smoke test: the
# model is far too small for a likeness.
#
#   Recipes/tiny.sh OUT       start, or resume, in OUT
#   LIVETALK=path             the program; by default the release build
#   CLIPS=20 SECONDS_OF_CLIP=2.0625 SIZE=64
set -euo pipefail
cd "$(dirname "$0")/.."
. Recipes/common.sh

out=${1:?"usage: Recipes/tiny.sh OUT"}
clips=${CLIPS:-20}
seconds=${SECONDS_OF_CLIP:-2.0625} # 33 video frames, 9 latent ones
size=${SIZE:-64}
latent_frames=9

stage "clips of a synthetic speaker" \
  "$livetalk" data synthesize --out "$out/clips" --clips "$clips" --seconds "$seconds" --size "$size" --seed 1 --languages en
stage "a checkpoint of random weights" init_checkpoint tiny "$out/base"
stage "clips as media" \
  "$livetalk" data prepare "$out/clips" --out "$out/media" --kind media --size "${size}x${size}" --latent-frames "$latent_frames"
stage "video autoencoder" train vae --config tiny.vae --data "$out/media" --checkpoint "$out/base" --out "$out/vae"
stage "speech encoder" train audio --config tiny.audio --data "$out/media" --checkpoint "$out/vae/final" --out "$out/audio"
stage "clips as latents" \
  "$livetalk" data prepare "$out/clips" --out "$out/latents" --kind latents --checkpoint "$out/audio/final" \
  --size "${size}x${size}" --latent-frames "$latent_frames" --dtype fp32
stage "teacher" train teacher --config tiny.teacher --data "$out/latents" --checkpoint "$out/audio/final" --out "$out/teacher"
stage "trajectories of the teacher" \
  "$livetalk" trajectories --data "$out/latents" --teacher "$out/teacher/final" --out "$out/trajectories" --steps 12 \
  --text-guidance 1 --audio-guidance 2 --precision float32
stage "student: ODE initialisation" train ode --config tiny.ode --data "$out/trajectories" --checkpoint "$out/teacher/final" \
  --out "$out/ode"
stage "student: distribution matching" train dmd --config tiny.dmd --data "$out/latents" --checkpoint "$out/ode/final" \
  --teacher "$out/teacher/final" --out "$out/dmd"
stage "a video by the student" \
  "$livetalk" generate --checkpoint "$out/dmd/final" --image "$out/clips/$(first_clip "$out/clips" reference)" \
  --audio "$out/clips/$(first_clip "$out/clips" sound)" --prompt "A person speaks." --seconds "$seconds" -o "$out/student.mp4"
stage "face reader" train reader --config tiny.reader --data "$out/media" --checkpoint "$out/dmd/final" --out "$out/reader"
stage "measures of two clips" \
  "$livetalk" evaluate --checkpoint "$out/reader/final" --clips "$out/clips" --count 2 --seconds 1 --json "$out/evaluation.json"
say "done: $out/student.mp4"
