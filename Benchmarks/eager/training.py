"""A student's step of distribution matching distillation in eager PyTorch.

It is the yardstick for `livetalk bench training`: the same transformer (denoise.py), the same passes, random weights. The
student rolls out seven blocks over its cache; one step of each has a gradient, the cached keys and values have none, the
text is read with a gradient once. Scores: the teacher with and without its conditions, the critic once. Then the way back, the
norm of the gradients, AdamW with fp32 masters and the moving average. With --critic the critic's step is timed too.
Prints a table and one line of JSON.
"""

import argparse
import copy
import dataclasses
import math
import resource
import time

import torch
from torch.nn import functional as F

from denoise import PRESETS, STEPS, Config, Transformer
from report import report, timed

FRAMES = 21
SHIFT = 5.0
GUIDANCE = 6.0
CLIP, EMA, DECAY = 10.0, 0.99, 0.01
TINY = Config(96, 2, 6, 192, 512, 64, 8, audio_input=192, freq_dim=64)


class ClipCache:
    """Keys and values of the blocks before a block, cut from any graph."""

    def __init__(self, c, **kind):
        shape = (1, FRAMES * c.tokens, c.heads, c.width)
        self.k, self.v = torch.zeros(shape, **kind), torch.zeros(shape, **kind)

    def take(self, k, v, start):
        end = start + k.shape[1]
        self.k[:, start:end], self.v[:, start:end] = k.detach(), v.detach()
        if not torch.is_grad_enabled():
            return self.k[:, :end], self.v[:, :end]
        return torch.cat([self.k[:, :start], k], 1), torch.cat([self.v[:, :start], v], 1)


class NoCache:
    """Every token sees every token of the call."""

    def take(self, k, v, start):
        return k, v


def schedule():
    u = torch.arange(1000, 0, -1, dtype=torch.float64) / 1000
    return SHIFT * u / (1 + (SHIFT - 1) * u)


def sigma_of(timestep):
    """The nearest entry of the table."""
    table = schedule()
    return table[(table * 1000 - timestep).abs().argmin()].item()


class Step:
    """Everything that a step works with."""

    def __init__(self, c, dtype, exit_step):
        self.c, self.dtype, self.exit_step = c, dtype, exit_step
        clip = dataclasses.replace(c, block=FRAMES)
        self.student, self.critic = Transformer(c).eval(), Transformer(clip).eval()
        self.teacher = copy.deepcopy(self.critic).requires_grad_(False)
        self.student_optimizer, self.critic_optimizer = Masters(self.student, 4e-6, True), Masters(self.critic, 8e-7, False)
        size = 2 * c.side
        self.shape = (1, c.out_channels, FRAMES, size, size)
        self.text = torch.randn(c.text_tokens, c.text_width)
        self.negative = torch.randn(c.text_tokens, c.text_width)
        self.audio = torch.randn(1, 4 * FRAMES, c.audio_input)
        self.picture = torch.randn(1, c.out_channels, 1, size, size)

    def condition(self, frames, first):
        mask = torch.ones(1, 1, frames, *self.shape[3:])
        if first:
            mask[:, :, 0] = 0
        return torch.cat([self.picture.expand(-1, -1, frames, -1, -1), mask], 1).to(self.dtype)

    def rollout(self, recorded):
        """A clip [1, 16, 21, h, w]; the exit steps have a gradient where it is asked for."""
        c, n, kind = self.c, self.c.block, {"dtype": self.dtype}
        caches = [ClipCache(c, **kind) for _ in range(c.layers)]
        fixed, learnt = [{} for _ in range(c.layers)], [{} for _ in range(c.layers)]
        prompt, audio = [self.text.to(self.dtype)], self.audio.to(self.dtype)
        sigmas = [sigma_of(t) for t in STEPS]
        blocks = []
        for block in range(FRAMES // n):
            first = block == 0
            size = (*self.shape[:2], n, *self.shape[3:])
            condition = self.condition(n, first)
            part = audio[:, 4 * n * block : 4 * n * (block + 1)]

            def call(x, timestep, cross):
                moment = torch.full((1, n), timestep, **kind)
                return self.student(x, condition, moment, prompt, part, caches, cross, block * n * c.tokens)

            def pin(x):
                return torch.cat([self.picture.to(x.dtype), x[:, :, 1:]], 2) if first else x

            def x0(x, index, cross):
                return (x.double() - sigmas[index] * call(x, STEPS[index], cross).double()).to(x.dtype)

            def noised(x, sigma):
                return ((1 - sigma) * x.float() + sigma * torch.randn(size)).to(self.dtype)

            x = torch.randn(size).to(self.dtype)
            with torch.no_grad():
                for index in range(self.exit_step):
                    x = noised(x0(pin(x), index, fixed), sigmas[index + 1])
            with torch.set_grad_enabled(recorded):
                clean = pin(x0(pin(x), self.exit_step, learnt if recorded else fixed))
            with torch.no_grad():
                call(noised(clean, sigma_of(0)), 0.0, fixed)
            blocks.append(clean)
        return torch.cat(blocks, 2)

    def flow(self, model, noisy, timestep, text, audio):
        c = self.c
        moment = torch.full((1, 1), timestep, dtype=self.dtype)
        return model(
            noisy.to(self.dtype), self.condition(FRAMES, True), moment, [text.to(self.dtype)], audio.to(self.dtype),
            [NoCache()] * c.layers, [{} for _ in range(c.layers)], 0,
        ).float()

    def noised(self, clean):
        timestep = 1000 * SHIFT * 0.5 / (1 + (SHIFT - 1) * 0.5)
        sigma, noise = sigma_of(timestep), torch.randn(self.shape)
        noisy = (1 - sigma) * clean + sigma * noise
        noisy[:, :, :1] = self.picture
        return noisy, noise, timestep, sigma

    def move_student(self):
        latents = self.rollout(True)
        with torch.no_grad():
            clean = latents.float()
            noisy, _, timestep, sigma = self.noised(clean)

            def score(model, text, audio):
                return (noisy.double() - sigma * self.flow(model, noisy, timestep, text, audio).double()).float()

            cond = score(self.teacher, self.text, self.audio)
            uncond = score(self.teacher, self.negative, self.audio * 0)
            fake = score(self.critic, self.text, self.audio)
            real = uncond + GUIDANCE * (cond - uncond)
            push = torch.nan_to_num((fake - real) / (clean - real).abs().mean(dim=(1, 2, 3, 4), keepdim=True))
        wide = latents.double()
        loss = 0.5 * F.mse_loss(wide, (wide - push.double()).detach())
        loss.backward()
        self.student_optimizer.step()
        assert math.isfinite(loss.item()) and loss.item() > 0
        push.abs().mean().item()

    def move_critic(self):
        with torch.no_grad():
            clean = self.rollout(False).float()
            noisy, noise, timestep, _ = self.noised(clean)
        flow = self.flow(self.critic, noisy, timestep, self.text, self.audio)
        loss = (flow - (noise - clean)).square()[:, :, 1:].mean()
        loss.backward()
        self.critic_optimizer.step()
        loss.item()


class Masters:
    """AdamW on fp32 values of the weights, in lists of tensors; PyTorch's fused kernel."""

    def __init__(self, model, rate, averages):
        self.weights = list(model.parameters())
        self.is_wide = self.weights[0].dtype == torch.float32
        self.masters = self.weights if self.is_wide else [w.detach().float() for w in self.weights]
        for w in self.masters:
            w.requires_grad_(True)
        self.average = [w.detach().clone() for w in self.masters] if averages else None
        self.optimizer = torch.optim.AdamW(self.masters, lr=rate, betas=(0.0, 0.999), weight_decay=DECAY, fused=True)

    @torch.no_grad()
    def step(self):
        if not self.is_wide:
            for master, weight in zip(self.masters, self.weights):
                master.grad = None if weight.grad is None else weight.grad.float()
                weight.grad = None
        torch.nn.utils.clip_grad_norm_(self.masters, CLIP).item()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if not self.is_wide:
            torch._foreach_copy_(self.weights, self.masters)
        if self.average is not None:
            torch._foreach_lerp_(self.average, self.masters, 1 - EMA)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    presets = {**PRESETS, "tiny": TINY}
    parser.add_argument("--preset", choices=presets, default="laptop")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--exit-step", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5, help="timed steps, after one that warms up")
    parser.add_argument("--critic", action="store_true", help="time the critic's step too")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    dtype = torch.bfloat16 if options.dtype == "bf16" else torch.float32
    c = dataclasses.replace(presets[options.preset], text_tokens=512)
    torch.set_default_dtype(dtype)
    step = Step(c, dtype, options.exit_step)
    torch.set_default_dtype(torch.float32)
    groups = {}
    kinds = {"student step": step.move_student} | ({"critic step": step.move_critic} if options.critic else {})
    for name, move in kinds.items():
        move()
        groups[name], groups[f"{name} processor"] = [], []
        for _ in range(options.steps):
            start = time.process_time()
            groups[name].append(timed(move))
            groups[f"{name} processor"].append((time.process_time() - start) * 1000)
    settings = {
        "preset": options.preset,
        "latent_frames": FRAMES,
        "tokens_per_frame": c.tokens,
        "text_rows": c.text_tokens,
        "exit_step": options.exit_step,
        "parameters": sum(w.numel() for w in step.student.parameters()),
        "dtype": options.dtype,
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "torch": torch.__version__,
    }
    report("training", settings, groups)


if __name__ == "__main__":
    main()
