"""The causal diffusion transformer with its key/value cache, in eager PyTorch, as the published reference runs it.

It is the yardstick for `livetalk bench`: the same mathematics with random weights and a full attention window, doing
again in every call what the reference does again (text embedding, modulation, complex128 rotary factors, cache clones
when the window rolls). Each block makes four denoising calls and one at timestep 0 that writes the block's clean keys
and values. Prints a table and one line of JSON with the times of the calls.
"""

import argparse
import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional as F

from report import DTYPES, report, timed

STEPS = (1000.0, 936.0, 832.0, 624.0)  # what the model sees in bf16
SIGMAS = (1.0, 0.9375, 0.8333333, 0.625)


@dataclasses.dataclass
class Config:
    dim: int
    heads: int
    layers: int
    ffn: int
    text_tokens: int
    text_width: int
    side: int  # tokens along one side of a latent frame
    window: int = 15
    sinks: int = 9
    block: int = 3
    audio_hidden: int = 32
    audio_input: int = 10752
    in_channels: int = 33
    out_channels: int = 16
    freq_dim: int = 256
    eps: float = 1e-6

    @property
    def tokens(self):
        return self.side * self.side

    @property
    def width(self):
        return self.dim // self.heads


PRESETS = {
    "laptop": Config(384, 4, 8, 1536, 256, 512, 8),
    "livetalk-1.3b": Config(1536, 12, 30, 8960, 512, 4096, 32),
}


def rotary_table(width):
    """complex128 [1024, width/2]: time, height and width parts side by side."""
    spatial = 2 * (width // 6)
    parts = []
    for size in (width - 2 * spatial, spatial, spatial):
        rates = 10000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        angles = torch.outer(torch.arange(1024, dtype=torch.float64), rates)
        parts.append(torch.polar(torch.ones_like(angles), angles))
    return torch.cat(parts, 1)


def rotate(x, table, start, frames, side):
    """x [B, L, H, D] turned in complex128, its factors gathered for this call."""
    pairs = x.shape[-1] // 2
    spatial = x.shape[-1] // 6
    time, height, width = table.split([pairs - 2 * spatial, spatial, spatial], dim=1)
    factors = torch.cat(
        [
            time[start : start + frames].view(frames, 1, 1, -1).expand(frames, side, side, -1),
            height[:side].view(1, side, 1, -1).expand(frames, side, side, -1),
            width[:side].view(1, 1, side, -1).expand(frames, side, side, -1),
        ],
        dim=-1,
    ).reshape(frames * side * side, 1, -1)
    rows = []
    for sample in x:
        values = torch.view_as_complex(sample.to(torch.float64).reshape(*sample.shape[:2], -1, 2))
        turned = torch.view_as_real(values * factors).flatten(2)
        rows.append(torch.cat([turned, sample[factors.shape[0] :]]))
    return torch.stack(rows).type_as(x)


def attend(q, k, v):
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2).contiguous()


class RollingCache:
    """Keys and values of a layer: sinks stay, the rest moves up when a new block needs room."""

    def __init__(self, c, rows, **kind):
        self.c = c
        self.rows = {name: torch.randn(1, rows, c.heads, c.width, **kind) for name in ("k", "v")}
        self.local_end = torch.tensor(rows)
        self.global_end = torch.tensor(rows)

    def take(self, k, v, start):
        """Takes up a block; the keys and values that it sees."""
        c = self.c
        new, sinks, capacity = k.shape[1], c.sinks * c.tokens, self.rows["k"].shape[1]
        end = start + new
        local_end, global_end = int(self.local_end), int(self.global_end)
        if end > global_end and new + local_end > capacity:
            evicted = new + local_end - capacity
            kept = local_end - evicted - sinks
            for rows in self.rows.values():
                moved = rows[:, sinks + evicted : sinks + evicted + kept].clone()
                rows[:, sinks : sinks + kept] = moved
            local_end = local_end + end - global_end - evicted
        else:
            local_end = local_end + end - global_end
        self.rows["k"][:, local_end - new : local_end] = k
        self.rows["v"][:, local_end - new : local_end] = v
        first = max(0, local_end - c.window * c.tokens)
        self.local_end.fill_(local_end)
        self.global_end.fill_(end)
        return self.rows["k"][:, first:local_end], self.rows["v"][:, first:local_end]


class RMSNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        wide = x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)).type_as(x) * self.weight


class WideLayerNorm(nn.LayerNorm):
    """LayerNorm computed in fp32."""

    def forward(self, x):
        weight = None if self.weight is None else self.weight.float()
        bias = None if self.bias is None else self.bias.float()
        return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps).type_as(x)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.q, self.k, self.v, self.o = (nn.Linear(c.dim, c.dim) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(c.dim, c.eps), RMSNorm(c.dim, c.eps)

    def split(self, x):
        return x.view(*x.shape[:2], self.c.heads, self.c.width)


class SelfAttention(Attention):
    def forward(self, x, table, cache, start):
        c = self.c
        q, k, v = self.split(self.norm_q(self.q(x))), self.split(self.norm_k(self.k(x))), self.split(self.v(x))
        frame = start // c.tokens
        q = rotate(q, table, frame, c.block, c.side).type_as(v)
        k = rotate(k, table, frame, c.block, c.side).type_as(v)
        out = attend(q, *cache.take(k, v, start))
        return self.o(out.flatten(2))


class CrossAttention(Attention):
    def forward(self, x, text, cache):
        q = self.split(self.norm_q(self.q(x)))
        if not cache:
            cache["k"], cache["v"] = self.split(self.norm_k(self.k(text))), self.split(self.v(text))
        return self.o(attend(q, cache["k"], cache["v"]).flatten(2))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.norm1 = WideLayerNorm(c.dim, c.eps, elementwise_affine=False)
        self.norm2 = WideLayerNorm(c.dim, c.eps, elementwise_affine=False)
        self.norm3 = WideLayerNorm(c.dim, c.eps)
        self.self_attn, self.cross_attn = SelfAttention(c), CrossAttention(c)
        self.ffn = nn.Sequential(nn.Linear(c.dim, c.ffn), nn.GELU("tanh"), nn.Linear(c.ffn, c.dim))
        self.modulation = nn.Parameter(torch.randn(1, 6, c.dim) / c.dim**0.5)

    def forward(self, x, modulation, text, table, cache, cross, start):
        by_frame = lambda y: y.unflatten(1, (self.c.block, self.c.tokens))
        e = (self.modulation.unsqueeze(1) + modulation).chunk(6, dim=2)  # each [B, F, 1, C]
        y = (by_frame(self.norm1(x)) * (1 + e[1]) + e[0]).flatten(1, 2)
        x = x + (by_frame(self.self_attn(y, table, cache, start)) * e[2]).flatten(1, 2)
        x = x + self.cross_attn(self.norm3(x), text, cross)
        y = (by_frame(self.norm2(x)) * (1 + e[4]) + e[3]).flatten(1, 2)
        return x + (by_frame(self.ffn(y)) * e[5]).flatten(1, 2)


class Transformer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.patch = nn.Conv3d(c.in_channels, c.dim, (1, 2, 2), stride=(1, 2, 2))
        self.text = nn.Sequential(nn.Linear(c.text_width, c.dim), nn.GELU("tanh"), nn.Linear(c.dim, c.dim))
        self.time = nn.Sequential(nn.Linear(c.freq_dim, c.dim), nn.SiLU(), nn.Linear(c.dim, c.dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(c.dim, 6 * c.dim))
        self.audio = nn.Linear(4 * c.audio_input, c.audio_hidden)
        self.audio_norm = nn.LayerNorm(c.audio_hidden)
        self.audio_layers = range(2, c.layers // 2 + 1)
        self.audio_out = nn.ModuleList(nn.Linear(c.audio_hidden, c.dim) for _ in self.audio_layers)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.head_norm = WideLayerNorm(c.dim, c.eps, elementwise_affine=False)
        self.head = nn.Linear(c.dim, 4 * c.out_channels)
        self.head_modulation = nn.Parameter(torch.randn(1, 2, c.dim) / c.dim**0.5)
        self.table = rotary_table(c.width)

    def forward(self, latent, condition, timesteps, prompt, audio, caches, cross, start):
        c = self.c
        x = [torch.cat([a, b]) for a, b in zip(latent, condition)]  # B × [33, F, h, w]
        x = [self.patch(sample.unsqueeze(0)).flatten(2).transpose(1, 2) for sample in x]
        x = torch.cat(x)  # [B, L, C]
        rates = 10000.0 ** (-torch.arange(c.freq_dim // 2, dtype=torch.float64) / (c.freq_dim // 2))
        angles = torch.outer(timesteps.flatten().double(), rates)
        e = self.time(torch.cat([angles.cos(), angles.sin()], 1).type_as(x))
        modulation = self.time_projection(e).unflatten(1, (6, c.dim)).unflatten(0, timesteps.shape)  # [B, F, 6, C]
        padded = [torch.cat([p, p.new_zeros(c.text_tokens - p.shape[0], p.shape[1])]) for p in prompt]
        text = self.text(torch.stack(padded))
        packed = self.audio_norm(self.audio(audio.unflatten(1, (c.block, 4)).flatten(2)))  # [B, F, 32]
        spoken = torch.cat([out(packed) for out in self.audio_out])
        spoken = spoken.unflatten(0, (len(self.audio_out), -1))
        for i, layer in enumerate(self.layers):
            if i in self.audio_layers:
                vector = spoken[i - self.audio_layers.start].unsqueeze(2)
                x = x + vector.expand(-1, -1, c.tokens, -1).flatten(1, 2)
            x = layer(x, modulation, text, self.table, caches[i], cross[i], start)
        shift, scale = (self.head_modulation.unsqueeze(1) + e.unflatten(0, timesteps.shape).unsqueeze(2)).chunk(2, 2)
        x = self.head_norm(x).unflatten(1, (c.block, c.tokens)) * (1 + scale) + shift
        x = self.head(x).reshape(-1, c.block, c.side, c.side, 2, 2, c.out_channels)
        return torch.einsum("bfhwpqc->bcfhpwq", x).reshape(-1, c.out_channels, c.block, 2 * c.side, 2 * c.side)


def denoise(model, xt, sigma, *rest):
    """One call: the flow, then x0 in float64 as the reference forms it."""
    flow = model(xt, *rest)
    return (xt.double() - sigma * flow.double()).to(xt.dtype)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, default="laptop")
    parser.add_argument("--blocks", type=int, default=8, help="timed blocks of five calls, after one that warms up")
    parser.add_argument("--calls", type=int, help="stop after so many timed calls, without warming up")
    parser.add_argument("--layers", type=int, help="fewer layers than the preset")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    c = PRESETS[options.preset]
    if options.layers:
        c = dataclasses.replace(c, layers=options.layers)
    torch.manual_seed(0)
    kind = {"dtype": DTYPES[options.dtype]}
    torch.set_default_dtype(kind["dtype"])
    model = Transformer(c).eval()
    rows = c.window * c.tokens
    caches = [RollingCache(c, rows, **kind) for _ in range(c.layers)]
    cross = [{} for _ in range(c.layers)]
    size = (1, c.out_channels, c.block, 2 * c.side, 2 * c.side)
    condition = torch.randn(1, c.in_channels - c.out_channels, *size[2:], **kind)
    prompt = [torch.randn(c.text_tokens // 8, c.text_width, **kind)]
    audio = torch.randn(1, 4 * c.block, c.audio_input, **kind)

    times = {"first call of a block": [], "other denoising call": [], "clean call": []}
    every = []
    warm = 0 if options.calls else 1
    for block in range(options.blocks + warm):
        start = rows + block * c.block * c.tokens
        xt = torch.randn(size, **kind)
        for step in range(len(STEPS) + 1):
            clean = step == len(STEPS)
            moment = torch.full((1, c.block), 0.0 if clean else STEPS[step], **kind)
            rest = (condition, moment, prompt, audio, caches, cross, start)
            if clean:
                took = timed(lambda: model(xt, *rest))
            else:
                box = []
                took = timed(lambda: box.append(denoise(model, xt, SIGMAS[step], *rest)))
                xt = box[0]
                if step + 1 < len(STEPS):
                    sigma = SIGMAS[step + 1]
                    xt = ((1 - sigma) * xt.float() + sigma * torch.randn(size, dtype=torch.float32)).to(xt.dtype)
            if block >= warm:
                label = "clean call" if clean else "other denoising call" if step else "first call of a block"
                times[label].append(took)
                if not clean:
                    every.append(took)
            if options.calls and sum(map(len, times.values())) >= options.calls:
                break
        else:
            continue
        break
    settings = {
        "preset": options.preset,
        "layers": c.layers,
        "tokens_per_frame": c.tokens,
        "window": c.window,
        "dtype": options.dtype,
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    assert math.isfinite(xt.float().abs().max().item())
    report("denoise", settings, {"denoising call": every, **{k: v for k, v in times.items() if v}})


if __name__ == "__main__":
    main()
