"""An atlas of depthwise kernels: which of them are blobs, rings, edges or bars, and how often chance alone would say so."""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import pi, prod
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.init.templates import CLASSES, RATIOS, Template
from faltung.look.filters import slices
from faltung.look.tables import table
from faltung.readers import Network, read

_ANGLES, _SIGMAS, _STEPS = 8, 8, 40


@lru_cache(maxsize=16)
def _dictionary(size: tuple[int, int]) -> tuple[tuple[Template, ...], np.ndarray]:
    """All templates of a size, and their matrix (templates, taps)."""
    sigmas = np.geomspace(0.5, min(size) / 3, _SIGMAS)
    angles = np.arange(_ANGLES) * pi / _ANGLES
    made = [Template(kind) for kind in ("uniform", "cross", "delta")]
    made += [Template("gaussian", s) for s in sigmas]
    made += [Template("dog", s, ratio) for s in sigmas for ratio in RATIOS]
    # A first derivative turned half around is its own negative, so half a turn of angles is all there is.
    made += [Template(kind, s, 0.0, a) for kind in ("first", "second") for s in sigmas for a in angles]
    return tuple(made), np.stack([t.draw(size).ravel() for t in made])


@dataclass(frozen=True)
class Place:
    """Where one kernel stands in the atlas.

    Fields:
        kind: its class, "other" where no template is near enough.   sign: +1 for on-centre (as the template), −1 for off.
        score: |cosine| with the fitted template.   sigma, ratio, angle: the fitted numbers.   second: the best other class.
        gap: how much nearer the class is than the second.
    """

    kind: str
    sign: int
    score: float
    sigma: float
    ratio: float
    angle: float
    second: str
    gap: float


def place_kernels(kernels: Any, tau: float = 0.8, refine: bool = True) -> list[Place]:
    """Name each kernel of two axes by the nearest of about 180 templates.

    Formula: the class of the largest |cosine| with a template, if that is at least τ; then σ, ratio and angle follow by
    Gauss–Newton steps on the cosine.

    Shapes: kernels (out, in / groups, k, k).   Args: tau: 0 to 1, default 0.8.   refine: fit beyond the table's steps.

    Cost: kernels · taps · 180.   Source: Babaiee, Kiasari, Rus and Grosu, Unveiling the unseen (2024), for the patterns; the
    table of templates in place of an auto-encoder is this library's.

    Example:
        >>> place_kernels(-Template("dog", 1.0, 2.0).draw((7, 7))[None, None])[0].sign
        -1
    """
    size = tuple(np.shape(kernels)[2:])
    if len(size) != 2 or min(size) < 2:
        raise ArgumentError.of(
            "place_kernels", "kernels (out, in / groups, k, k)", f"{np.shape(kernels)}", "choose two axes"
        )
    rows = slices(kernels)
    templates, matrix = _dictionary(size)
    norms = np.linalg.norm(rows, axis=1)
    unit = rows / np.where(norms > 0, norms, 1)[:, None]
    cosines = unit @ matrix.T
    kinds = np.array([t.kind for t in templates])
    places = []
    for row, values in zip(unit, cosines, strict=True):
        best = {
            kind: int(np.flatnonzero(kinds == kind)[np.abs(values[kinds == kind]).argmax()]) for kind in CLASSES[:-1]
        }
        order = sorted(best, key=lambda kind: -abs(values[best[kind]]))
        template, sign = templates[best[order[0]]], 1 if values[best[order[0]]] >= 0 else -1
        score = abs(float(values[best[order[0]]]))
        if refine and score >= tau:
            template, score = _fitted(template, sign * row, size, score)
        gap = score - abs(float(values[best[order[1]]]))
        kind = template.kind if score >= tau else "other"
        places.append(Place(kind, sign, score, template.sigma, template.ratio, template.angle % pi, order[1], gap))
    return places


def _fitted(template: Template, row: np.ndarray, size: tuple[int, int], score: float) -> tuple[Template, float]:
    """Gauss–Newton on ‖row − a · template‖ over log σ, log of the ratio's excess and the angle, halving steps that do not help."""
    turns = template.kind in ("first", "second")
    free = [n for n in ("sigma", "ratio", "angle") if (turns if n == "angle" else getattr(template, n))]
    if not free:
        return template, score

    def moved(start: Template, steps: np.ndarray) -> Template:
        values = {}
        for name, step in zip(free, steps, strict=True):
            old = getattr(start, name)
            if name == "angle":
                values[name] = old + step
            else:
                values[name] = old * np.exp(step) if name == "sigma" else 1 + (old - 1) * np.exp(step)
        return replace(start, **values)

    for _ in range(_STEPS):
        drawn = template.draw(size).ravel()
        cosine = float(drawn @ row)
        jacobian = (
            np.stack([(moved(template, 1e-5 * e).draw(size).ravel() - drawn) / 1e-5 for e in np.eye(len(free))], 1)
            * cosine
        )
        step = np.linalg.lstsq(jacobian, row - cosine * drawn, rcond=1e-10)[0]
        step = step * min(1.0, 0.4 / max(np.abs(step).max(), 1e-12))  # shorter, not another direction
        for _ in range(12):
            other = moved(template, step)
            sane = 0.2 <= other.sigma <= 4 * max(size) and other.ratio < 50
            value = float(other.draw(size).ravel() @ row) if sane else -1.0
            if value > score:
                template, score = other, value
                break
            step = step / 2
        else:
            break
    return template, score


def null_rate(size: tuple[int, int], tau: float = 0.8, draws: int = 5000) -> float:
    """The share of kernels of normal noise that would be named all the same: what a coverage has to be compared with.

    Example:
        >>> 0.08 < null_rate((3, 3)) < 0.14 and null_rate((7, 7)) == 0
        True
    """
    return _null_rate(tuple(size), float(tau), int(draws))


@lru_cache(maxsize=64)
def _null_rate(size: tuple[int, int], tau: float, draws: int) -> float:
    noise = np.random.default_rng(0).standard_normal((draws, prod(size)))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return float((np.abs(noise @ _dictionary(size)[1].T).max(1) >= tau).mean())


@dataclass(frozen=True)
class AtlasLayer:
    """The kernels of one layer.

    Fields:
        shares: of each class of `CLASSES`.   coverage, coverage_strict: shares with a name at τ and at 0.9.   null: share of
            noise that would have a name.   places: of every kernel, in the order of the weight.   note: a warning where
            chance is not rare.
    """

    name: str
    size: tuple[int, int]
    shares: dict[str, float]
    coverage: float
    coverage_strict: float
    null: float
    places: tuple[Place, ...]
    note: str


@dataclass(frozen=True)
class Atlas:
    """The depthwise kernels of a network."""

    layers: tuple[AtlasLayer, ...]
    skipped: tuple[str, ...]

    def table(self) -> str:
        """For people."""
        header = ["layer", "taps", *CLASSES, "named", "named at 0.9", "noise", "note"]
        rows = [
            [x.name, x.size, *(x.shares[c] for c in CLASSES), x.coverage, x.coverage_strict, x.null, x.note] for x in
        self.layers ]  # fmt: skip
        return "\n".join([table(header, rows), *(f"skipped: {s}" for s in self.skipped)])


def kernel_atlas(source: Any, example: Any = None, *, tau: float = 0.8, dense: bool = False) -> Atlas:
    """Name the depthwise kernels of a network.

    Args:
        source: what `faltung.readers.read` takes, or one kernel (channels, 1, k, k).   tau: see `place_kernels`.
        dense: convolutions that mix channels too; their slices seldom have such shapes.

    Returns: an `Atlas`; kernels of three taps are named with a warning, because a tenth of all noise is too.

    Example:
        >>> layer = nn.Conv2d(4, 4, 7, groups=4)
        >>> kernel_atlas(layer, torch.zeros(1, 4, 9, 9)).layers[0].null
        0.0
    """
    if not isinstance(source, Network) and hasattr(source, "ndim"):
        return Atlas((_layer("array", np.asarray(source, float), tau),), ())
    network = read(source, example)
    rows, skipped = [], []
    for node in network.once(network.convolutions):
        single = node.depthwise or (node.op == "weights" and node.kernel_shape[1] == 1)
        if not (single or dense):
            continue
        kernel = node.filters
        if kernel is None or node.ndim != 2 or min(node.taps) < 3:
            skipped.append(f"{node.name}: {'kernel not known' if kernel is None else f'{node.taps} taps'}")
        else:
            rows.append(_layer(node.name, kernel, tau))
    return Atlas(tuple(rows), tuple(skipped))


def _layer(name: str, kernel: np.ndarray, tau: float) -> AtlasLayer:
    places = place_kernels(kernel, tau)
    size: Any = tuple(kernel.shape[2:])
    shares = {kind: sum(p.kind == kind for p in places) / len(places) for kind in CLASSES}
    null = null_rate(size, tau)
    note = "chance names many" if null > 0.01 else ""
    strict = sum(p.score >= 0.9 for p in places) / len(places)
    return AtlasLayer(name, size, shares, 1 - shares["other"], strict, null, tuple(places), note)
