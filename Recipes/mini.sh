#!/usr/bin/env bash
# Makes the bundled model, Models/mini, again: from drawn people who speak to a student of 4 steps, at 256×256, on a processor.
#
#   Recipes/mini.sh OUT       go on in OUT where it was stopped
#   LIVETALK=path             the program; by default the release build
#   SHARE=1                   share of the steps of every stage; 0.01 shows in minutes that all parts run
#   CLIPS_PICTURES=1200 CLIPS_SPEECH=3000 CLIPS=2000
#
# Every stage is a run that goes on where it was stopped. How long each took, and what it reached, is in docs/RESULTS.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. Recipes/common.sh

out=${1:?"usage: Recipes/mini.sh OUT"}
size=256

# steps N: N steps times SHARE, at least 4.
steps() { awk -v n="$1" -v share="${SHARE:-1}" 'BEGIN { n = int(n * share); print (n < 4 ? 4 : n) }'; }

# The seeds of the data; the bundled avatars and every test clip have others.
pictures_seed=101 speech_seed=102 clips_seed=103

stage "short clips of many people" "$livetalk" data synthesize --out "$out/pictures" --clips "${CLIPS_PICTURES:-1200}" \
  --seconds 1.0625 --size $size --seed $pictures_seed
stage "a checkpoint of random weights" init_checkpoint mini "$out/base"
stage "clips as media" "$livetalk" data prepare "$out/pictures" --out "$out/pictures-media" --kind media \
  --size ${size}x$size --latent-frames 5
stage "autoencoder: pictures" train vae --config mini.vae --data "$out/pictures-media" --checkpoint "$out/base" \
  --out "$out/vae-pictures" --set frames=1 --set run.batch=16 --set "run.steps=$(steps 600)"
stage "autoencoder: clips" train vae --config mini.vae --data "$out/pictures-media" \
  --checkpoint "$out/vae-pictures/final" --out "$out/vae" --set startsRandom=false --set "run.steps=$(steps 800)"
