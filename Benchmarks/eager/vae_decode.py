"""The Wan video decoder in eager PyTorch, as the published reference runs it: one latent frame at a time, every causal
convolution keeping its last two input frames and joining them to the next ones.

Random weights; a block of 3 latent frames becomes 12 video frames. Prints a table and one line of JSON.
"""

import argparse

import torch
from torch import nn
from torch.nn import functional as F

from report import DTYPES, report, timed

HISTORY = 2  # input frames a causal convolution remembers


class CausalConv(nn.Conv3d):
    """A 3-D convolution padded in time on the left only, with zeros or with remembered frames."""

    def __init__(self, inputs, outputs, kernel, padding=(0, 0, 0)):
        super().__init__(inputs, outputs, kernel)
        time, height, width = padding
        self.pads = [width, width, height, height, 2 * time, 0]

    def forward(self, x, past=None):
        pads = list(self.pads)
        if past is not None and pads[4] > 0:
            x = torch.cat([past, x], dim=2)
            pads[4] -= past.shape[2]
        return super().forward(F.pad(x, pads))


class Memory:
    """The remembered frames of all convolutions, in the order of their calls."""

    def __init__(self, slots):
        self.frames, self.place = [None] * slots, 0

    def run(self, conv, x):
        before = self.frames[self.place]
        keep = x[:, :, -HISTORY:].clone()
        if keep.shape[2] < HISTORY and before is not None:
            keep = torch.cat([before[:, :, -1:], keep], dim=2)
        x = conv(x, before)
        self.frames[self.place] = keep
        self.place += 1
        return x


class ChannelNorm(nn.Module):
    def __init__(self, channels, dims):
        super().__init__()
        self.scale, self.gamma = channels**0.5, nn.Parameter(torch.ones(channels, *(1,) * dims))

    def forward(self, x):
        return F.normalize(x, dim=1) * self.scale * self.gamma


class ResidualBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.norm1, self.norm2 = ChannelNorm(inputs, 3), ChannelNorm(outputs, 3)
        self.conv1 = CausalConv(inputs, outputs, 3, (1, 1, 1))
        self.conv2 = CausalConv(outputs, outputs, 3, (1, 1, 1))
        self.shortcut = CausalConv(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, memory):
        kept = self.shortcut(x)
        x = memory.run(self.conv1, F.silu(self.norm1(x)))
        return memory.run(self.conv2, F.silu(self.norm2(x))) + kept


class FrameAttention(nn.Module):
    """One head over the pixels of each frame."""

    def __init__(self, channels):
        super().__init__()
        self.norm = ChannelNorm(channels, 2)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x, memory):
        batch, channels, frames, height, width = x.shape
        y = x.transpose(1, 2).reshape(batch * frames, channels, height, width)
        q, k, v = self.qkv(self.norm(y)).reshape(batch * frames, 1, 3 * channels, -1).transpose(2, 3).chunk(3, -1)
        y = F.scaled_dot_product_attention(q.contiguous(), k.contiguous(), v.contiguous())
        y = self.out(y.squeeze(1).transpose(1, 2).reshape(batch * frames, channels, height, width))
        return x + y.unflatten(0, (batch, frames)).transpose(1, 2)


class Upsample(nn.Module):
    """Twice the height and width, half the channels; twice the frames where `time`, but not on its first call."""

    def __init__(self, channels, time):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels // 2, 3, padding=1)
        self.time = CausalConv(channels, 2 * channels, (3, 1, 1), (1, 0, 0)) if time else None

    def forward(self, x, memory):
        batch, channels, frames, height, width = x.shape
        if self.time is not None:
            slot, before = memory.place, memory.frames[memory.place]
            memory.place += 1
            if before is None:
                memory.frames[slot] = "first"
            else:
                keep = x[:, :, -HISTORY:].clone()
                if keep.shape[2] < HISTORY:
                    older = torch.zeros_like(keep) if isinstance(before, str) else before[:, :, -1:]
                    keep = torch.cat([older, keep], dim=2)
                x = self.time(x) if isinstance(before, str) else self.time(x, before)
                memory.frames[slot] = keep
                x = x.reshape(batch, 2, channels, frames, height, width)
                x = torch.stack((x[:, 0], x[:, 1]), 3).reshape(batch, channels, 2 * frames, height, width)
        frames = x.shape[2]
        y = x.transpose(1, 2).reshape(batch * frames, channels, height, width)
        y = F.interpolate(y.float(), scale_factor=(2.0, 2.0), mode="nearest-exact").type_as(y)
        return self.conv(y).unflatten(0, (batch, frames)).transpose(1, 2)


class Decoder(nn.Module):
    def __init__(self, dim, latent=16, multiples=(1, 2, 4, 4), residuals=2, time=(True, True, False)):
        super().__init__()
        widths = [dim * m for m in (multiples[-1], *reversed(multiples))]
        self.mean, self.std = nn.Parameter(torch.randn(latent)), nn.Parameter(torch.rand(latent) + 1)
        self.conv2 = CausalConv(latent, latent, 1)
        self.conv1 = CausalConv(latent, widths[0], 3, (1, 1, 1))
        parts = [ResidualBlock(widths[0], widths[0]), FrameAttention(widths[0]), ResidualBlock(widths[0], widths[0])]
        for i, outputs in enumerate(widths[1:]):
            inputs = widths[i] if i == 0 else widths[i] // 2
            for _ in range(residuals + 1):
                parts.append(ResidualBlock(inputs, outputs))
                inputs = outputs
            if i + 1 < len(multiples):
                parts.append(Upsample(outputs, time[i]))
        self.parts = nn.ModuleList(parts)
        self.norm = ChannelNorm(widths[-1], 3)
        self.conv_out = CausalConv(widths[-1], 3, 3, (1, 1, 1))
        self.slots = 1 + sum(isinstance(m, CausalConv) for m in self.modules())

    def one_frame(self, z, memory):
        memory.place = 0
        x = memory.run(self.conv1, z)
        for part in self.parts:
            x = part(x, memory)
        return memory.run(self.conv_out, F.silu(self.norm(x)))

    def forward(self, z, memory):
        inverse = 1.0 / self.std
        z = self.conv2(z / inverse.view(1, -1, 1, 1, 1) + self.mean.view(1, -1, 1, 1, 1))
        out = None
        for i in range(z.shape[2]):
            frames = self.one_frame(z[:, :, i : i + 1], memory)
            out = frames if out is None else torch.cat([out, frames], dim=2)
        return out.clamp(-1, 1)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, default=16, help="base width; 96 is the published decoder")
    parser.add_argument("--size", type=int, default=128, help="height and width of the video")
    parser.add_argument("--blocks", type=int, default=20, help="timed blocks, after one that warms up")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    torch.set_default_dtype(DTYPES[options.dtype])
    model = Decoder(options.dim).eval()
    memory = Memory(model.slots)
    side = options.size // 8
    shape = (1, 16, 3, side, side)
    assert model(torch.randn(shape), memory).shape == (1, 3, 9, options.size, options.size)
    assert model(torch.randn(shape), memory).shape == (1, 3, 12, options.size, options.size)
    times = [timed(lambda z=torch.randn(shape): model(z, memory)) for _ in range(options.blocks)]
    settings = {
        "dim": options.dim,
        "video": f"12x{options.size}x{options.size}",
        "dtype": options.dtype,
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    report("vae_decode", settings, {"block of 3 latent frames": times})


if __name__ == "__main__":
    main()
