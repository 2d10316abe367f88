#!/usr/bin/env bash
# Trains the bundled model, Models/mini, from synthetic talking heads to a 4-step student, at 256×256.
#
#   Recipes/mini.sh OUT       start, or resume, in OUT; the model is OUT/mini
#   LIVETALK=path             the program; by default the release build
#   SHARE=1                   fraction of clips and steps; 0.02 is a smoke test of minutes
#   DEVICE=cpu                where the last stages of transformers compute, the largest ones: cuda computes them in bf16
#
# Every stage can be interrupted and resumed. docs/RESULTS.md has what each reached, and in what time.
set -euo pipefail
cd "$(dirname "$0")/.."
. Recipes/common.sh

out=${1:?"usage: Recipes/mini.sh OUT"}
device=${DEVICE:-cpu}
precision=$([ "$device" = cpu ] && echo float32 || echo bfloat16)

# first N FOLDER OUT: a dataset folder with the first N clips of another.
first() {
  mkdir -p "$3"
  ln -sfn "$(cd "$2" && pwd -P)/clips" "$3/clips"
  head -n "$1" "$2/metadata.jsonl" >"$3/metadata.jsonl"
}

prepare() { "$livetalk" data prepare "$@"; }

# Seeds of the data; portraits (`livetalk data portrait`) and the clips of docs/RESULTS.md have others.
stage "many people, one second each" "$livetalk" data synthesize --out "$out/pictures" --clips "$(scaled 1200)" \
  --seconds 1.0625 --seed 101
stage "people who speak English, two seconds each" "$livetalk" data synthesize --out "$out/speech" \
  --clips "$(scaled 4000)" --seconds 2.0625 --seed 103 --languages en
first "$(scaled 700)" "$out/speech" "$out/speech-first"
first "$(scaled 1500)" "$out/speech" "$out/speech-some"
stage "a checkpoint of random weights" init_checkpoint mini "$out/base"

stage "media: pictures" prepare "$out/pictures" --out "$out/pictures-media" --kind media --size 256x256 --latent-frames 3
stage "media: clips" prepare "$out/speech-first" --out "$out/clips-media" --kind media --size 256x256 --latent-frames 9
stage "media: sound" prepare "$out/speech-some" --out "$out/sound" --kind media --size 64x64 --latent-frames 9

# The encoder is a PCA and stays frozen, so that latents are final before the decoder is. Pictures first: they cost a fifth of clips.
# Only longer clips have frames after the second latent one.
decoder() { train vae --config mini.vae --set trainsEncoder=false "$@"; }
stage "autoencoder: PCA encoder, pictures" decoder --data "$out/clips-media" --checkpoint "$out/base" \
  --out "$out/vae-pictures" --set start=principal --set frames=1 --set run.batch=16 --set "run.steps=$(scaled 500)"
stage "autoencoder: 5 frames" decoder --data "$out/pictures-media" --checkpoint "$out/vae-pictures/final" \
  --out "$out/vae-clips" --set optimizer.learningRate=3e-3 --set "run.steps=$(scaled 700)"
stage "autoencoder: 13 frames" decoder --data "$out/clips-media" --checkpoint "$out/vae-clips/final" --out "$out/vae-long" \
  --set frames=13 --set run.batch=4 --set optimizer.learningRate=3e-3 --set "run.steps=$(scaled 3900)"
# Fine-tuned with noise and with places of other moments: generated latents are less consistent than encoded ones, which shows as seams.
stage "autoencoder: noisy latents" decoder --data "$out/clips-media" --checkpoint "$out/vae-long/final" --out "$out/vae" \
  --set loss.noise=1.9 --set loss.mixing=0.6 --set frames=13 --set run.batch=4 --set optimizer.learningRate=2e-3 \
  --set optimizer.warmupSteps=20 --set "run.steps=$(scaled 1300)"
stage "speech encoder" train audio --config mini.audio --data "$out/sound" --checkpoint "$out/vae/final" \
  --out "$out/audio" --set "run.steps=$(scaled 1200)"

# latents NAME CLIPS CHECKPOINT
latents() {
  stage "clips as latents: $1" prepare "$2" --out "$out/latents-$1" --kind latents --checkpoint "$3" --size 256x256 \
    --latent-frames 9 --dtype fp32
}
latents first "$out/speech-first" "$out/audio/final"
latents some "$out/speech-some" "$out/audio/final"
stage "teacher: 4 latent frames" train teacher --config mini.teacher --data "$out/latents-first" \
  --checkpoint "$out/audio/final" --out "$out/teacher-short" --set run.latentFrames=4 --set "run.steps=$(scaled 450)"
# teacher NAME START RATE STEPS: on latents of the same name.
teacher() {
  stage "teacher: 9 latent frames, $1" train teacher --config mini.teacher --data "$out/latents-$1" --checkpoint "$2" \
    --out "$out/teacher-$1" --set run.batch=6 --set "optimizer.learningRate=$3" --set weighting.regions.eyes=12 \
    --set "run.steps=$(scaled "$4")"
}
teacher first "$out/teacher-short/final" 2e-3 1450
teacher some "$out/teacher-first/final" 1.5e-3 650

# Both teachers have students; a third student starts from the mean of their ODE initialisations and has the mean of the teachers.
average() { [ -e "$1" ] || "$livetalk" checkpoint average "${@:2}" --out "$1"; }
trajectories() {
  stage "trajectories of the teacher: $1" "$livetalk" trajectories --data "$out/latents-$2" --teacher "$3" \
    --out "$out/trajectories-$1" --count "$(scaled "$4")" --steps 8 --text-guidance 1 --audio-guidance 2 --precision float32
}
# student NAME LATENTS START TEACHER ODE-STEPS ODE-RATE DMD-STEPS DMD-RATE
student() {
  stage "student: ODE initialisation, $1" train ode --config mini.ode --data "$out/trajectories-$1" --checkpoint "$3" \
    --out "$out/ode-$1" --set "run.steps=$(scaled "$5")" --set "optimizer.learningRate=$6"
  stage "student: distribution matching, $1" train dmd --config mini.dmd --data "$out/latents-$2" \
    --checkpoint "$out/ode-$1/final" --teacher "$4" --out "$out/dmd-$1" --set "run.steps=$(scaled "$7")" \
    --set "optimizer.learningRate=$8"
}
for name in first some; do
  trajectories $name $name "$out/teacher-$name/final" 150
  rate=$([ $name = first ] && echo 5e-5 || echo 2.5e-5)
  student $name $name "$out/teacher-$name/final" "$out/teacher-$name/final" 220 1.5e-3 50 "$rate"
done
average "$out/teacher" "$out"/teacher-{first,some}/final
average "$out/ode-start" "$out"/ode-{first,some}/final
trajectories mean some "$out/teacher" 300
student mean some "$out/ode-start" "$out/teacher" 300 1e-3 80 2.5e-5
# Their mean has the mouth of one and cleaner faces than any.
average "$out/mean-student" "$out"/dmd-{first,some,mean}/final "$out/ode-mean/final"

# What the speech encoder tells bounds the mouth: it learns of four times as many people, and all that hears goes on from the student.
stage "more people who speak" "$livetalk" data synthesize --out "$out/voices" --clips "$(scaled 6000)" --size 64 \
  --seconds 2.0625 --seed 303 --languages en
stage "media: their sound" prepare "$out/voices" --out "$out/voices-media" --kind media --size 64x64 --latent-frames 9
stage "speech encoder: more people" train audio --config mini.audio --data "$out/voices-media" \
  --checkpoint "$out/mean-student" --out "$out/voices-audio" --set optimizer.learningRate=2e-3 \
  --set "run.steps=$(scaled 7600)"
latents again "$out/speech-some" "$out/voices-audio/final"
stage "teacher: from the student" train teacher --config mini.teacher --data "$out/latents-again" \
  --checkpoint "$out/voices-audio/final" --out "$out/teacher-again" --set run.batch=8 --set optimizer.learningRate=1.5e-3 \
  --set weighting.regions.eyes=12 --set "run.steps=$(scaled 920)"
# Of all people, in batches that want a GPU: with DEVICE=cuda these stages take ten minutes, without one two days.
wide=(--set "run.device=$device" --set "run.precision=$precision" --set run.report.sampleEvery=0)
latents wide "$out/speech" "$out/voices-audio/final"
wide_teacher() {
  train teacher --config mini.teacher --data "$out/latents-wide" --checkpoint "$out/teacher-again/final" "${wide[@]}" \
    --set run.batch=64 --set optimizer.learningRate=2e-3 --set average.decay=0.995 --set weighting.regions.eyes=12 \
    --set "run.steps=$(scaled 2400)" "$@"
}
stage "teacher: all people" wide_teacher --out "$out/teacher-wide"
# Block by block on true clips: the student knows people and sounds before it follows the teacher.
stage "student: true clips" wide_teacher --out "$out/forced-wide" --set 'forcing={framesPerBlock: 3}' --set textDropout=0 \
  --set audioDropout=0
stage "trajectories of the teacher: all people" "$livetalk" trajectories --data "$out/latents-wide" \
  --teacher "$out/teacher-wide/final" --out "$out/trajectories-wide" --count "$(scaled 900)" --steps 8 --text-guidance 1 \
  --audio-guidance 2 --batch 32 --device "$device" --precision "$precision"
stage "student: ODE initialisation, all people" train ode --config mini.ode --data "$out/trajectories-wide" \
  --checkpoint "$out/forced-wide/final" --out "$out/ode-wide" "${wide[@]}" --set run.batch=32 \
  --set optimizer.learningRate=2e-3 --set "run.steps=$(scaled 350)"
stage "student: distribution matching, all people" train dmd --config mini.dmd --data "$out/latents-wide" \
  --checkpoint "$out/ode-wide/final" --teacher "$out/teacher-wide/final" --out "$out/dmd-wide" "${wide[@]}" \
  --set run.batch=16 --set optimizer.learningRate=2.5e-5 --set "run.steps=$(scaled 110)"
# Their mean has the mouth of one and the faces of the other.
average "$out/student" "$out"/{ode,dmd}-wide/final

# Its latents are of one moment, so that its decoder has less to forgive; the mean of both decoders has fewer specks than the new one.
stage "autoencoder: less noise" decoder --data "$out/clips-media" --checkpoint "$out/student" --out "$out/vae-clear" \
  --set loss.noise=0.9 --set loss.mixing=0.3 --set frames=13 --set run.batch=4 --set optimizer.learningRate=2e-3 \
  --set "run.steps=$(scaled 2200)"
average "$out/clear-student" "$out/student" "$out/vae-clear/final" --part vae

stage "the face reader, for evaluation" train reader --config mini.reader --data "$out/pictures-media" \
  --checkpoint "$out/clear-student" --out "$out/reader" --set "run.steps=$(scaled 800)"

# A clip of training has three blocks: the first one, the one before, and the one in work.
rm -rf "$out/mini"
stage "the model" "$livetalk" checkpoint convert "$out/reader/final" --dtype bf16 --out "$out/mini" --policy anchor:3/9 \
  --position-limit 9 --provenance "LiveTalk mini, trained on drawn people by Recipes/mini.sh"
say "done: $out/mini"
