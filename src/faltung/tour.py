"""The tour: the main job on a real photo, sound and volume, written as one page with pictures, sounds, times and plans."""

import base64
import html
import io
import math
import time
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import faltung
from faltung import data, filters
from faltung.media import package, whole


@dataclass(frozen=True)
class Stop:
    """One thing shown: what was called, what came out, how long it took, and the plan that chose the method."""

    title: str
    words: str
    call: str
    html: str
    seconds: float
    plan: str
    method: str
    values: np.ndarray = field(repr=False)


def write(folder: str | Path = "tour") -> Path:
    """Run the tour and write `index.html` in the folder; the page needs no other file.

    Raises:
        FileError: if the folder cannot be written.   MissingExtraError: without Pillow.
    """
    from faltung.errors import FileError

    target = Path(folder) / "index.html"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        came = (error.strerror or str(error)).lower()
        raise FileError.of(str(folder), "a folder that can be written", came, "choose another") from None
    text = page(stops())
    with whole(target) as part:
        part.write_text(text, encoding="utf-8")
    return target


def stops() -> list[tuple[str, str, list[Stop]]]:
    """The chapters of the tour, each with a heading, an opening (HTML) and its stops."""
    return [_photo(), _sound(), _volume()]


# -- the three chapters ---------------------------------------------------------------------------------------------------


def _photo() -> tuple[str, str, list[Stop]]:
    photo = data.photo()
    x = photo.astype(np.float32)
    blur = filters.gaussian(3.0)
    sharp = -1.5 * filters.gaussian(1.5)
    sharp[tuple(n // 2 for n in sharp.shape)] += 2.5
    brightness = x @ np.array([0.299, 0.587, 0.114], np.float32)
    element = np.where(filters.disk(4) > 0, 0.0, -np.inf).astype(np.float32)
    same = {"mode": "same", "boundary": "reflect"}
    colours = {"pattern": "*s c, *s -> *s c", "dtype": "uint8", **same}

    edges = [_timed(brightness, filters.sobel(axis).astype(np.float32), **same) for axis in "xy"]
    strength = np.hypot(edges[0][0], edges[1][0])
    shown = np.clip(255.0 - strength * 0.6, 0, 255).astype(np.uint8)
    found = [
        _pictured("Blur", "Every pixel becomes a weighted mean of its neighbours. The weights fall off like a bell, so nothing "
                  "jumps. A wide bell is filtered as rows and then as columns, where that is faster.",
                  "convolve(photo, gaussian(3.0))", x, blur, "the cat, softly blurred", **colours),
        _pictured("Sharpen", "The picture plus one and a half times what the blur took away.",
                  "convolve(photo, 2.5·impulse − 1.5·gaussian(1.5))", x, sharp, "the cat with crisper fur", **colours),
        Stop("Edges", "The slope of the brightness, sideways and downwards, joined by Pythagoras. Dark means steep.",
             'hypot(convolve(grey, sobel("x")), convolve(grey, sobel("y")))', _image(shown, "outlines of the cat, dark on white"),
             edges[0][1] + edges[1][1], edges[0][2], edges[0][3], strength),
        _pictured("Motion", "As if the camera had moved 25 pixels up and to the right while the shutter was open.",
                  "convolve(photo, motion(25, 30°))", x, filters.motion(25, math.radians(30)), "the cat, smeared diagonally",
                  **colours),
        _pictured("Dilation", "The same operation in another arithmetic: instead of adding products, take the largest sum. Every "
                  "pixel becomes the brightest within four pixels.", 'convolve(photo, disk, over="max-plus")', x, element,
                  "the cat painted in bright round dabs", over="max-plus", **colours),
    ]  # fmt: skip
    opening = _image(photo, "photo of a tabby cat looking past the camera")
    return "A photo", f"<p>Chelsea the cat, 451 × 300 pixels in colour.</p>{opening}", found


def _sound() -> tuple[str, str, list[Stop]]:
    dry, rate = data.sound(), data.SOUND_RATE
    hall = echo(rate)
    y, seconds, plan, method = _timed(dry, hall)
    y = y / np.abs(y).max() * np.abs(dry).max()
    short = filters.gaussian(6.0, ndim=1)
    dull, dull_seconds, dull_plan, dull_method = _timed(dry, short, mode="same")
    taps = f"{hall.size:,}"
    found = [
        Stop("In a cathedral", f"A three-second echo has {taps} taps at this rate. Added up one by one that is "
             f"{dry.size * hall.size / 1e9:.1f} billion multiplications; through Fourier transforms it is a moment.",
             "convolve(voice, echo)", _player(y, rate, "the same sentence in a large hall") + _curve(y), seconds, plan,
             method, y),
        Stop("Behind a door", "A short bell takes the high notes away.", "convolve(voice, gaussian(6.0))",
             _player(dull, rate, "the same sentence, muffled") + _curve(dull), dull_seconds, dull_plan,
             dull_method, dull),
    ]  # fmt: skip
    opening = _player(dry, rate, "a sentence read aloud") + _curve(dry)
    return "A voice", f"<p>One sentence of <i>Sense and Sensibility</i>, recorded in a quiet room.</p>{opening}", found


def echo(rate: int, seconds: float = 3.0) -> np.ndarray:
    """A made-up room: the direct sound, then noise that dies away by 60 dB over the given time. The same at every call."""
    n = int(rate * seconds)
    noise = np.random.default_rng(7).standard_normal(n) * 10.0 ** (-3.0 * np.arange(n) / n)
    noise[: rate // 50] *= 0.2  # the walls answer a little later
    k = 0.04 * noise
    k[0] = 1.0
    return k


def _volume() -> tuple[str, str, list[Stop]]:
    volume = data.volume()
    x = volume.astype(np.float32)
    same = {"mode": "same", "boundary": "reflect"}
    smooth, seconds, plan, method = _timed(x, filters.gaussian((0.9, 1.0, 1.0)), **same)
    slopes = [_timed(smooth, filters.sobel(axis, ndim=3).astype(np.float32), **same) for axis in "xyz"]
    gradient = np.sqrt(sum(s[0] ** 2 for s in slopes))
    found = [
        Stop("Smooth", "A bell in three dimensions: neighbours above and below count as well.",
             "convolve(brain, gaussian((0.9, 1, 1)))", _image(_slices(smooth), "three smoothed slices of the brain"), seconds,
             plan, method, smooth),
        Stop("Gradient", "How steeply the signal changes, in any direction: the folds of the cortex stand out.",
             "√(Σ convolve(smooth, sobel(axis, ndim=3))²)", _image(_slices(gradient), "outlines of tissue in three slices"),
             sum(s[1] for s in slopes), slopes[0][2], slopes[0][3], gradient),
    ]  # fmt: skip
    opening = _image(_slices(x), "three slices of a brain seen from above")
    return (
        "A volume",
        f"<p>A brain by magnetic resonance, 24 × 96 × 80 voxels; three of its slices.</p>{opening}",
        found,
    )


# -- doing and timing -----------------------------------------------------------------------------------------------------


def _timed(
    x: np.ndarray, k: np.ndarray, pattern: str | None = None, **options: Any
) -> tuple[np.ndarray, float, str, str]:
    """The result, the seconds of the second call (the first may compile), the plan, and the method that took this filter."""
    k = k.astype(x.dtype)
    faltung.convolve(x, k, pattern, **options)
    start = time.perf_counter()
    y = faltung.convolve(x, k, pattern, **options)
    seconds = time.perf_counter() - start
    plan = faltung.plan(x, k, pattern, **options)
    return y, seconds, str(plan), plan.prepare(k).method


def _pictured(title: str, words: str, call: str, x: np.ndarray, k: np.ndarray, alt: str, **options: Any) -> Stop:
    y, seconds, plan, method = _timed(x, k, **options)
    return Stop(title, words, call, _image(y, alt), seconds, plan, method, y)


# -- pictures, sounds, page -----------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """A time in plain words: `3.2 thousandths of a second`."""
    if seconds >= 1.0:
        return f"{seconds:.1f} seconds"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.2g} thousandths of a second"
    return f"{seconds * 1e6:.0f} millionths of a second"


def _slices(volume: np.ndarray) -> np.ndarray:
    """Three slices side by side, as grey values, twice as large."""
    picked = np.concatenate([volume[z] for z in (6, 12, 17)], axis=1)
    grey = np.clip(picked / np.percentile(volume, 99.7), 0, 1) * 255
    return np.repeat(np.repeat(grey.astype(np.uint8), 2, axis=0), 2, axis=1)


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _image(values: np.ndarray, alt: str) -> str:
    buffer = io.BytesIO()
    package("PIL.Image", "pillow", "the tour's pictures").fromarray(values).save(buffer, format="PNG", optimize=True)
    size = f'width="{values.shape[1]}" height="{values.shape[0]}"'
    return f'<img src="{_uri("image/png", buffer.getvalue())}" alt="{html.escape(alt)}" {size}>'


def _player(samples: np.ndarray, rate: int, label: str) -> str:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, rate, samples.size, "NONE", ""))
        file.writeframes(np.clip(np.rint(samples * 32767.0), -32768, 32767).astype("<i2").tobytes())
    source = _uri("audio/wav", buffer.getvalue())
    return f'<audio controls preload="metadata" aria-label="{html.escape(label)}" src="{source}"></audio>'


def _curve(samples: np.ndarray, columns: int = 300) -> str:
    """The loudness over time, as a drawing."""
    blocks = np.array_split(np.abs(samples), columns)
    heights = np.array([block.max() for block in blocks]) / max(float(np.abs(samples).max()), 1e-9) * 24
    path = "".join(f"M{2 * i + 1} {25 - h:.1f}V{25 + h:.1f}" for i, h in enumerate(heights))
    return f'<svg class="wave" viewBox="0 0 {2 * columns} 50" role="img" aria-label="loudness over time"><path d="{path}"/></svg>'


STYLE = """
:root{color-scheme:light dark;--paper:#fbfaf7;--ink:#1d2125;--soft:#5d666f;--line:#dedbd2;--card:#fff;--leaf:#0b6e63}
@media(prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e8e6e1;--soft:#a2abb3;--line:#2c3238;--card:#1b1f23;--leaf:#5fd0bf}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:17px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:74rem;margin:auto;padding:2.5rem 1.1rem 4rem}
h1{font-size:clamp(2rem,7vw,3.4rem);line-height:1.1;margin:0 0 .6rem;letter-spacing:-.02em}
h2{font-size:1.7rem;margin:3.5rem 0 .4rem;padding-top:1.2rem;border-top:1px solid var(--line)}
h3{margin:.2rem 0 .3rem;font-size:1.15rem}
p{margin:.3rem 0 .9rem;max-width:44rem}
.lead{font-size:1.15rem;color:var(--soft)}
.formula{font-family:ui-monospace,Menlo,Consolas,monospace;color:var(--leaf);overflow-x:auto}
.stops{display:grid;gap:1.2rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr));margin-top:1.2rem}
article{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1rem 1.1rem;min-width:0}
img{display:block;max-width:100%;height:auto;border-radius:10px;margin:.4rem 0 .7rem}
audio{width:100%;max-width:34rem;margin:.4rem 0;display:block}
.wave{width:100%;max-width:34rem;display:block;margin:.2rem 0 .6rem}
.wave path{stroke:var(--leaf);stroke-width:1.4}
code{font:.86rem ui-monospace,Menlo,Consolas,monospace;color:var(--leaf);overflow-wrap:anywhere}
.time{color:var(--soft);font-size:.95rem;margin:.5rem 0}
summary{cursor:pointer;color:var(--leaf)}
pre{overflow-x:auto;font:.72rem/1.5 ui-monospace,Menlo,Consolas,monospace;padding:.7rem;
  border:1px solid var(--line);border-radius:8px}
footer{margin-top:3.5rem;color:var(--soft);font-size:.9rem}
"""


def page(chapters: list[tuple[str, str, list[Stop]]]) -> str:
    """The whole page as text; pictures and sounds are inside."""
    body = "".join(
        f"<section><h2>{html.escape(heading)}</h2>{opening}<div class='stops'>{''.join(map(_article, found))}</div></section>"
        for heading, opening, found in chapters
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>A tour of faltung</title><style>{STYLE}</style></head><body><main>
<h1>One operation, written once</h1>
<p class="lead">Blur, echo, edges, brightest neighbour: all are convolution. You say what meets what; faltung picks the fastest
way that is right, and tells you why.</p>
<p class="formula">(x ∗ k)(p) = ⊕ over all u · v = p of x(u) ⊗ k(v)</p>
{body}
<footer><p>Made by faltung {faltung.__version__} on this computer; times are those of a repeated call. Photo: Stéfan van der Walt,
CC0. Voice: LibriVox, public domain. Brain: nibabel's test data, MIT. The echo is computed, not recorded.</p></footer>
</main></body></html>
"""


def _article(stop: Stop) -> str:
    return (
        f"<article><h3>{html.escape(stop.title)}</h3>{stop.html}<p>{html.escape(stop.words)}</p><code>{html.escape(stop.call)}</code>"
        f'<p class="time">Took {duration(stop.seconds)}, by the method <b>{html.escape(stop.method)}</b>.</p>'
        f"<details><summary>Why this method?</summary><pre tabindex='0'>{html.escape(stop.plan)}</pre></details></article>"
    )
