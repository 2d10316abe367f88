# What the recipes share; sourced by them from the root of the repository.

say() { printf '%s\n' "$*" >&2; }

# The program: LIVETALK, or the release build, which is made where it is missing.
if [ -z "${LIVETALK:-}" ]; then
  LIVETALK=.build/release/livetalk
  [ -x "$LIVETALK" ] || make build RELEASE=1
fi
livetalk=$LIVETALK

# stage TITLE COMMAND...: runs a stage and says how long it took.
stage() {
  local title=$1 start=$SECONDS
  shift
  say "== $title"
  "$@"
  say "   $title: $((SECONDS - start)) s"
}

# scaled N [LEAST]: N times SHARE, at least LEAST.
scaled() { awk -v n="$1" -v least="${2:-4}" -v share="${SHARE:-1}" 'BEGIN { n = int(n * share); print (n < least ? least : n) }'; }

# Every run can be stopped and started again.
# LAUNCH starts the processes of a run on several GPUs.
# shellcheck disable=SC2086
train() { ${LAUNCH:-} "$livetalk" train "$@" --resume; }

init_checkpoint() { [ -e "$2" ] || "$livetalk" checkpoint init --preset "$1" --out "$2"; }

# first_clip FOLDER KEY: what the first line of the folder's metadata.jsonl has under KEY.
first_clip() {
  python3 -c 'import json, sys; print(json.loads(open(sys.argv[1]).readline())[sys.argv[2]])' "$1/metadata.jsonl" "$2"
}
