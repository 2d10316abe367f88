#!/usr/bin/env python3
"""Makes Fixtures/: small pictures with the RGB bytes that Pillow reads from them, and one tone in five formats.

Needs Pillow, numpy, soundfile, soxr, and the ffmpeg program (libmp3lame, libvorbis). Everything is made from formulas.
"""
import io
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import soundfile
import soxr
from PIL import Image

out = Path(__file__).parent / "Fixtures"
out.mkdir(exist_ok=True)


def scene(width, height):
    """A smooth gradient with a hard-edged disc: chroma upsampling shows at the disc's edge."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    picture = np.stack([255 * x / width, 255 * y / height, 127 + 120 * np.sin(x / 5) * np.cos(y / 7)], -1)
    disc = (x - width * 0.4) ** 2 + (y - height * 0.55) ** 2 < (min(width, height) * 0.3) ** 2
    picture[disc] = (220, 30, 40)
    return picture.round().clip(0, 255).astype(np.uint8)


def keep(name, data, expected=None):
    (out / name).write_bytes(data)
    if expected is None:
        expected = Image.open(io.BytesIO(data)).convert("RGB")
    height, width = np.asarray(expected).shape[:2]
    (out / f"{name}.rgb").write_bytes(struct.pack("<II", width, height) + np.asarray(expected).tobytes())


def save(name, picture, **options):
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    keep(name, buffer.getvalue())


base = Image.fromarray(scene(37, 29))
alpha = Image.fromarray(np.linspace(0, 255, 37 * 29).reshape(29, 37).astype(np.uint8))
rgba = base.copy()
rgba.putalpha(alpha)
gray = base.convert("L")
gray_alpha = Image.merge("LA", (gray, alpha))
save("rgb.png", base, format="png")
save("rgba.png", rgba, format="png")
save("gray.png", gray, format="png")
save("gray-alpha.png", gray_alpha, format="png")
save("palette.png", base.quantize(40), format="png")
save("palette-small.png", base.quantize(7), format="png", bits=4)
save("palette-transparent.png", base.quantize(40), format="png", transparency=3)
save("bilevel.png", gray.convert("1"), format="png")


def raw_png(samples, colour_type):
    """16-bit PNGs, which Pillow cannot write in colour."""
    height, width, channels = samples.shape
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    rows = b"".join(b"\0" + samples[y].astype(">u2").tobytes() for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


deep = np.random.default_rng(3).integers(0, 65536, (19, 23, 4), dtype=np.uint16)
keep("rgb16.png", raw_png(deep[..., :3], 2))
keep("rgba16.png", raw_png(deep, 6))
# Pillow clips 16-bit grays at 255, which makes nearly all of them white: the high byte is what is meant.
keep("gray16.png", raw_png(deep[..., :1], 0), np.repeat(deep[..., :1] >> 8, 3, -1).astype(np.uint8))

photo = Image.fromarray(scene(61, 47))
for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
    save(f"{name}.jpg", photo, format="jpeg", quality=85, subsampling=subsampling)
save("progressive.jpg", photo, format="jpeg", quality=70, progressive=True)
save("gray.jpg", photo.convert("L"), format="jpeg", quality=80)
save("inks.jpg", photo.convert("CMYK"), format="jpeg", quality=85)
save("lossless.webp", base, format="webp", lossless=True)
save("animated.webp", base, format="webp", lossless=True, save_all=True,
     append_images=[Image.new("RGB", base.size, (9, 9, 9))])
save("lossy.webp", Image.fromarray(scene(64, 48)), format="webp", quality=95)
save("two-frames.gif", base.quantize(60), format="gif", save_all=True, append_images=[Image.new("P", base.size, 1)])
save("animated.png", base, format="png", save_all=True, append_images=[Image.new("RGB", base.size)], default_image=False)

# Each orientation shows the same upright scene once applied; lossless in PNG and WebP, in coarse blocks in JPEG.
upright = np.zeros((16, 24, 3), np.uint8)
upright[:8, :8], upright[:8, 8:16], upright[:8, 16:] = (250, 10, 10), (10, 250, 10), (10, 10, 250)
upright[8:, :8], upright[8:, 8:16], upright[8:, 16:] = (240, 240, 20), (20, 240, 240), (128, 128, 128)
store = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, 1), 7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
(out / "orientation.rgb").write_bytes(struct.pack("<II", 24, 16) + upright.tobytes())
for number, turn in store.items():
    picture = Image.fromarray(np.ascontiguousarray(turn(upright)))
    exif = Image.Exif()
    exif[0x0112] = number
    for ending, options in (
        ("jpg", dict(format="jpeg", quality=100, subsampling=0)), ("png", dict(format="png")),
        ("webp", dict(format="webp", lossless=True)),
        # Pillow turns the tag into the properties `irot` and `imir` of the picture.
        ("avif", dict(format="avif", quality=100, subsampling="4:4:4")),
    ):
        picture.save(out / f"orientation-{number}.{ending}", exif=exif, **options)
    if number in (1, 6, 7):
        picture.save(out / f"orientation-{number}.tif", tiffinfo={0x0112: number})
big = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
Image.fromarray(np.ascontiguousarray(store[6](upright))).save(out / "orientation-big-endian.jpg", quality=100,
                                                              subsampling=0, exif=big)


def run(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments[:-1], "-bitexact", arguments[-1]], check=True)


# 440 Hz at amplitude 0.5 on the left, silence on the right: the mean has amplitude 0.25.
def tone(rate, seconds):
    return ["-f", "lavfi", "-i", f"aevalsrc=0.5*sin(2*PI*440*t)|0:s={rate}:d={seconds}"]


for name, options in (
    ("tone.flac", ["-c:a", "flac"]), ("tone.mp3", ["-c:a", "libmp3lame", "-b:a", "64k"]),
    ("tone.m4a", ["-c:a", "aac", "-b:a", "64k"]), ("tone.ogg", ["-c:a", "libvorbis", "-q:a", "3"]),
):
    run(*tone(22050, 0.5), *options, str(out / name))
for bits, codec in (("8", "pcm_u8"), ("16", "pcm_s16le"), ("24", "pcm_s24le"), ("float", "pcm_f32le")):
    run(*tone(8000, 0.25), "-c:a", codec, str(out / f"tone-{bits}.wav"))

# Five partials in stereo at 44.1 kHz, and what librosa makes of it: mean of channels, then soxr HQ to 16 kHz.
t = np.arange(4410) / 44100
partials = sum(np.sin(2 * np.pi * f * t + f) for f in (130, 700, 2100, 4900, 7000)) / 6
stereo = (np.stack([partials, partials * 0.3 + 0.2], -1) * 32767).round().astype(np.int16)
soundfile.write(out / "partials.wav", stereo, 44100, subtype="PCM_16")
mean = np.mean(stereo.astype(np.float32) / 32768, axis=-1, dtype=np.float32)
resampled = soxr.resample(mean, 44100, 16000, quality="HQ")
resampled = np.pad(resampled, (0, 1600))[:1600].astype("<f4")
(out / "partials.f32").write_bytes(resampled.tobytes())
run("-f", "lavfi", "-i", "testsrc=s=32x32:d=0.2", "-c:v", "libx264", str(out / "silent.mp4"))

# A phone's way: stored lying, with a matrix that turns it; the ffmpeg program turns what it decodes.
lying = np.zeros((32, 64, 3), np.uint8)
lying[:16, :32], lying[:16, 32:], lying[16:, :32], lying[16:, 32:] = (200, 30, 30), (30, 200, 30), (30, 30, 200), (180, 180, 40)
raw = out / "lying.png"
Image.fromarray(lying).save(raw)
for degrees in (90, 180, 270):
    run("-loop", "1", "-t", "0.2", "-r", "10", "-i", str(raw), "-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p", str(out / "x.mp4"))
    run("-i", str(out / "x.mp4"), "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}", str(out / f"turned-{degrees}.mp4"))
    run("-i", str(out / f"turned-{degrees}.mp4"), "-frames:v", "1", str(out / "x.png"))
    turned = Image.open(out / "x.png").convert("RGB")
    width, height = turned.size
    (out / f"turned-{degrees}.mp4.rgb").write_bytes(struct.pack("<II", width, height) + np.asarray(turned).tobytes())
# What looks wrong in a program that reads on regardless.
for name, options in (
    ("wide-pixels.mp4", ["-vf", "setsar=2/1"]), ("interlaced.mp4", ["-flags", "+ilme+ildct"]),
    ("pq.mp4", ["-color_trc", "smpte2084"]), ("hlg.mp4", ["-color_trc", "arib-std-b67"]),
):
    run("-loop", "1", "-t", "0.2", "-r", "10", "-i", str(raw), "-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p", *options,
        str(out / name))
for name in ("lying.png", "x.mp4", "x.png"):
    (out / name).unlink()
