#!/usr/bin/env bash
# Asks the claims of LiveTalk (arXiv 2512.23576) and Live Avatar (arXiv 2512.04677) at the size of the bundled model: students that
# differ from that of Recipes/mini.sh in one thing each, and minutes of one person under three policies of the cache.
#
#   Recipes/ablation.sh MINI OUT   MINI is the folder that Recipes/mini.sh filled; go on in OUT where it was stopped
#   LIVETALK=path                  the program; by default the release build
#   SHARE=1                        share of steps, clips and seconds, the one that MINI was made with; 0.01 shows that all parts run
#   SECONDS_LONG=300               length of the long videos
#   SECONDS_FULL=60                the same where the cache forgets nothing: what it costs grows with the square of the length
#
# Figures are OUT/measures/*/NAME.json, written by `livetalk evaluate`; to measure again, remove them.
set -euo pipefail
cd "$(dirname "$0")/.."
. Recipes/common.sh

usage="usage: Recipes/ablation.sh MINI OUT"
mini=${1:?"$usage"}
out=${2:?"$usage"}
for part in speech/metadata.jsonl {audio,ode-mean,dmd-mean,reader}/final teacher {latents-all,trajectories-mean}/index.json; do
  [ -e "$mini/$part" ] && continue
  say "$mini/$part is not there: MINI is a folder that Recipes/mini.sh has filled"
  exit 1
done
mkdir -p "$out"/measures/{short,students,long} "$out"/{served,raw,long}

# measure FIGURES CHECKPOINT CLIPS [OPTION...]: measures/FIGURES.json, where it is not there yet.
measure() {
  [ -s "$out/measures/$1.json" ] ||
    "$livetalk" evaluate --checkpoint "$2" --clips "$3" --reader "$mini/reader/final" --json "$out/measures/$1.json" "${@:4}"
}

# serve NAME CHECKPOINT: the student as mini.sh ships it, but in fp32: rounding is not to hide what few steps of training changed.
serve() {
  [ -e "$out/served/$1" ] ||
    "$livetalk" checkpoint convert "$2" --dtype fp32 --out "$out/served/$1" --policy anchor:3/9 --position-limit 9
}

# student NAME CHECKPOINT: measures one on the clips of all students.
student() {
  serve "$1" "$2"
  stage "$1: measures" measure "students/$1" "$out/served/$1" "$out/clips"
}

# distilled NAME START LATENTS [--set KEY=VALUE...]: a student by distribution matching as in mini.sh, but for what is set.
distilled() {
  stage "$1: distribution matching" train dmd --config mini.dmd --data "$3" --checkpoint "$2" --teacher "$mini/teacher" \
    --out "$out/$1" --set "run.steps=$(scaled 80)" --set optimizer.learningRate=2.5e-5 "${@:4}"
  student "$1" "$out/$1/final"
}

# Unseen people: the clips of docs/RESULTS.md.
stage "clips to measure with" "$livetalk" data synthesize --out "$out/clips" --clips "$(scaled 8)" \
  --seconds "$(scaled 5 2)" --seed 900 --languages en

# The reference: what mini.sh made.
student default "$mini/dmd-mean/final"
student ode "$mini/ode-mean/final"

# LiveTalk: the causal student of 4 steps is as good as its bidirectional teacher of many guided ones. Clips are as long as those
# of training: a teacher knows no others.
stage "2 s: student of 4 steps" measure short/student "$out/served/default" "$out/clips" --count 4 --seconds 2
stage "2 s: teacher of 25 steps" measure short/teacher "$mini/teacher" "$out/clips" --count 4 --seconds 2 \
  --teacher-steps 25 --text-guidance 1 --audio-guidance 2

# LiveTalk: distribution matching needs an ODE initialisation that has converged. Here it has a twelfth of the steps.
stage "early: ODE initialisation" train ode --config mini.ode --data "$mini/trajectories-mean" --checkpoint "$mini/teacher" \
  --out "$out/early-ode" --set "run.steps=$(scaled 25)"
distilled early "$out/early-ode/final" "$mini/latents-all"

# LiveTalk: it needs curated conditions. Raw ones are here a picture of 64×64, as a low-resolution upload is, of the same person
# (the same seed draws the same people at any size), and a caption that says nothing of looks, expression and motion.
# 160 clips are what 80 steps of 2 see.
raw_clips() {
  "$livetalk" data synthesize --out "$out/raw/small" --clips "$(scaled 160)" --seconds 0.25 --size 64 --seed 103 --languages en
  ln -sfn "$(cd "$mini/speech/clips" && pwd -P)" "$out/raw/clips"
  head -n "$(scaled 160)" "$mini/speech/metadata.jsonl" | python3 -c '
import json, sys
for clip in map(json.loads, sys.stdin):
    clip |= {"reference": "small/" + clip["reference"], "caption": "A person speaks to the camera."}
    print(json.dumps(clip))' >"$out/raw/metadata.jsonl"
}
stage "raw: pictures and captions" raw_clips
stage "raw: clips as latents" "$livetalk" data prepare "$out/raw" --out "$out/raw-latents" --kind latents --enlarge \
  --checkpoint "$mini/audio/final" --size 256x256 --latent-frames 9 --dtype fp32
distilled raw-conditions "$mini/ode-mean/final" "$out/raw-latents"

# LiveTalk: it needs an aggressive schedule. Learning rates of student and critic are 2.5e-5 and 1e-4; here a fifth of
# that, and four times it.
distilled slow "$mini/ode-mean/final" "$mini/latents-all" --set optimizer.learningRate=5e-6 --set criticOptimizer.learningRate=2e-5
distilled aggressive "$mini/ode-mean/final" "$mini/latents-all" --set optimizer.learningRate=1e-4 --set criticOptimizer.learningRate=4e-4

# Live Avatar: a student that saw noise in its own history is steadier over long videos.
distilled corrupted "$mini/ode-mean/final" "$mini/latents-all" --set rollout.commit=lastStep

# LiveTalk: first frames that stay in the cache for ever, beside a window of recent ones, keep the person (anchor-heavy identity
# sinks). One person, who speaks the same recording again and again. Without --policy it is the checkpoint's anchor:3/9 with its
# limit of positions, which an option of that name would lift.
long_clip() {
  "$livetalk" data portrait --seed 5 -o "$out/long/person.png"
  python3 -c '
import sys, wave
source, target, seconds = sys.argv[1:]
with wave.open(source) as sound, wave.open(target, "wb") as long:
    long.setparams(sound.getparams())
    count, samples = int(float(seconds) * sound.getframerate()), sound.readframes(sound.getnframes())
    size = count * sound.getsampwidth() * sound.getnchannels()
    long.writeframes((samples * (size // len(samples) + 1))[:size])' Examples/librivox_austen.wav "$out/long/person.wav" "$1"
}
seconds=$(scaled "${SECONDS_LONG:-300}" 10)
stage "long: picture and sound" long_clip "$seconds"
stage "long: anchors and a window" measure long/anchor "$out/served/default" "$out/long"
stage "long: a window alone" measure long/rolling "$out/served/default" "$out/long" --policy rolling:9
stage "long: everything" measure long/full "$out/served/default" "$out/long" --policy full \
  --seconds "$(scaled "${SECONDS_FULL:-60}" 10)"
stage "long: history corruption, anchors and a window" measure long/corrupted "$out/served/corrupted" "$out/long"

python3 Recipes/plot_ablation.py "$out" | tee "$out/summary.md"
say "done: $out/summary.md, $out/students.svg, $out/five-minutes.svg"
