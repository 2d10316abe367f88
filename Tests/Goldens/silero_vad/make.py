#!/usr/bin/env python3
"""Makes the golden beside it with the TorchScript model of the package silero-vad 6.2.3.

    make.py FOLDER_OF_THE_PACKAGE EXAMPLES   (the folder that holds silero_vad/data; the repository's Examples)
"""
import json
import os
import sys
import wave

import numpy
import torch

torch.set_num_threads(1)
package, examples = sys.argv[1:3]
here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "speech")
window = 512


def read(name):
    with wave.open(os.path.join(examples, name)) as file:
        assert file.getframerate() == 16_000 and file.getnchannels() == 1 and file.getsampwidth() == 2
        return numpy.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(numpy.float32) / 32768


speech = read("librivox_austen_0870.wav")
noise = numpy.random.default_rng(6).standard_normal(4_000).astype(numpy.float32)
clicks = numpy.zeros(3_000, numpy.float32)
clicks[::997] = 1
sound = numpy.concatenate([
    speech[4_000:14_000], numpy.zeros(4_000, numpy.float32), 0.1 * noise, numpy.clip(6 * speech[40_000:46_000], -1, 1),
    clicks, 0.02 * speech[56_000:62_000],
])
# Samples of 16 bits, as recordings have them, take half the room.
stored = torch.from_numpy(numpy.round(sound[: len(sound) // window * window] * 32767).astype(numpy.int16))
sound = stored.float() / 32768


def load():
    return torch.jit.load(os.path.join(package, "silero_vad", "data", "silero_vad.jit")).eval()


def run():
    model = load()
    model.reset_states()
    return torch.cat([model(part, 16_000).flatten() for part in sound.split(window)]), model._state


def run_in_float64():
    """All behind the spectrum in float64: how far the reference itself may be off."""
    network = load()._model
    network.encoder.double()
    network.decoder.rnn.double()
    state, context, result = torch.zeros(0, dtype=torch.float64), torch.zeros(1, 64), []
    for part in sound.split(window):
        seen = torch.cat([context, part[None]], 1)
        out, state = network.decoder(network.encoder(network.run_extractors(seen).double()), state)
        context = seen[:, -64:]
        result.append(out.flatten())
    return torch.cat(result), state


with torch.no_grad():
    (probability, state), exact = run(), run_in_float64()
moved = max((probability - exact[0]).abs().max().item(), (state - exact[1]).abs().max().item())
print(f"{len(probability)} windows; float64 differs by {moved:.1e}; {int((probability > 0.5).sum())} are speech")


def save(name, tensors):
    header, data = {}, b""
    for key, value in sorted(tensors.items()):
        value = value.contiguous().numpy()
        kind = {"float32": "F32", "int16": "I16"}[str(value.dtype)]
        header[key] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [len(data), len(data) + value.nbytes]}
        data += value.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(here, name), "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


os.makedirs(here, exist_ok=True)
save("inputs.safetensors", {"samples": stored})
save("outputs.safetensors", {"probability": probability, "hidden": state[0], "cell": state[1]})
case = {
    "component": "silero_vad",
    "case": "speech",
    "description": "Speech, silence, noise, clipped speech, clicks and quiet speech, 2 s, window by window.",
    "reference": "silero-vad 6.2.3: silero_vad/data/silero_vad.jit (made by ../make.py, torch "
    + torch.__version__.split("+")[0] + ", one thread)",
    "config": {"weights": "../../../../Models/silero-vad/silero_vad_16k.safetensors"},
    "tolerance": {
        "fp32": {"rtol": 0, "atol": 1e-4},
        "note": f"the reference in float64 differs by {moved:.1e}",
    },
}
with open(os.path.join(here, "case.json"), "w") as file:
    file.write(json.dumps(case, indent=1) + "\n")
