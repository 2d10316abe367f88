#!/usr/bin/env python3
"""Writes silero_vad_16k.safetensors beside it from the TorchScript model of the package silero-vad 6.2.3.

    convert.py FOLDER_OF_THE_PACKAGE   (the folder that holds silero_vad/data)

The package's own silero_vad_16k.safetensors has the same keys and other weights than its TorchScript and ONNX models, which
are the ones that it runs; these are taken here.
"""
import json
import os
import sys

import torch

network = torch.jit.load(os.path.join(sys.argv[1], "silero_vad", "data", "silero_vad.jit"))._model
tensors = dict(network.named_parameters()) | dict(network.named_buffers())
names = {"stft.forward_basis_buffer": "stft_conv.weight"}
for kind in ("weight", "bias"):
    names |= {f"encoder.{i}.reparam_conv.{kind}": f"conv{i + 1}.{kind}" for i in range(4)}
    names |= {f"decoder.rnn.{kind}_{side}": f"lstm_cell.{kind}_{side}" for side in ("ih", "hh")}
    names |= {f"decoder.decoder.2.{kind}": f"final_conv.{kind}"}
assert sorted(names) == sorted(tensors), sorted(set(names) ^ set(tensors))

header, data = {"__metadata__": {"source": "silero-vad 6.2.3, silero_vad.jit, 16 kHz"}}, b""
for source, name in names.items():
    value = tensors[source].detach().contiguous().numpy()
    header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [len(data), len(data) + value.nbytes]}
    data += value.tobytes()
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
target = os.path.join(os.path.dirname(os.path.abspath(__file__)), "silero_vad_16k.safetensors")
with open(target, "wb") as file:
    file.write(len(text).to_bytes(8, "little") + text + data)
