"""Local augmentation: any global change of an image becomes a smooth local one, the same for the image, its mask and its points.

Source: Nicolaou et al., TorMentor: deterministic dynamic-path data augmentations with fractals (2022).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from faltung.errors import ArgumentError
from faltung.synth.draws import Source, random
from faltung.synth.plasma import plasma


@dataclass(frozen=True)
class State:
    """What was drawn for one image: plasma fields of its size, and how strong the change is."""

    fields: np.ndarray
    strength: float


class LocalAugment:
    """A change whose strength is drawn as a plasma field; drawn once, applied to as many targets as wanted.

    Args:
        fn: `fn(x, fields, strength)` with x (..., *size), fields (count, *size) in [0, 1], strength a number; `brighten` and `warp`
            are two, yours may be a third.
        fields: how many fields it needs: 1 for `brighten`, one an axis for `warp`.
        roughness: range that the plasma's roughness is drawn from, default 0.1 to 0.7.
        strength: range of the strength, default 0 to 1.

    Raises:
        ArgumentError: for ranges that are none, a number of fields below 1, or a target of another size than its state.

    Example:
        >>> change = LocalAugment(brighten)
        >>> state = change.sample_state((8, 8), rng=0)
        >>> change.apply(np.ones((8, 8)), state).shape
        (8, 8)
    """

    def __init__(
        self,
        fn: Callable[[np.ndarray, np.ndarray, float], np.ndarray],
        fields: int = 1,
        roughness: tuple[float, float] = (0.1, 0.7),
        strength: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        if fields < 1 or not 0 <= roughness[0] <= roughness[1] <= 1 or not strength[0] <= strength[1]:
            raise ArgumentError.of(
                "synth.LocalAugment",
                "fields ≥ 1, roughness within [0, 1], ranges from low to high",
                f"fields {fields}, roughness {roughness}, strength {strength}",
                "put the lower number first",
            )
        self.fn, self.fields, self.roughness, self.strength = fn, fields, roughness, strength

    def sample_state(self, size: Sequence[int], rng: Source = 0) -> State:
        """The fields and the strength for targets of this size; the same seed draws the same."""
        generator = random(rng, "synth.LocalAugment")
        rough = generator.uniform(*self.roughness)
        fields = plasma(size, rough, channels=self.fields, generator=generator)[0]
        return State(fields, generator.uniform(*self.strength))

    def apply(self, x: np.ndarray, state: State) -> np.ndarray:
        """The change of one target, (..., *size)."""
        size = state.fields.shape[1:]
        if x.shape[x.ndim - len(size) :] != size:
            raise ArgumentError.of(
                "synth.LocalAugment.apply",
                f"a target (..., {', '.join(map(str, size))})",
                f"{x.shape}",
                "draw a state of its size",
            )
        return self.fn(x, state.fields, state.strength)


def brighten(x: np.ndarray, fields: np.ndarray, strength: float) -> np.ndarray:
    """Brighter here and darker there: `clip(x + (2P - 1) · strength, 0, 1)`, x in [0, 1]."""
    return np.clip(x + (2 * fields[0] - 1) * strength, 0, 1)


def warp(x: np.ndarray, fields: np.ndarray, strength: float, order: int = 1) -> np.ndarray:
    """Values from places moved by the fields: `x(p + strength · size/4 · (2P(p) - 1))`, nearest at the border.

    Args:
        x: (..., *size); fields: one an axis of size.
        order: of the interpolation: 1 linear, 0 nearest, for masks.

    Raises:
        ArgumentError: where there are fewer fields than axes.
    """
    size = fields.shape[1:]
    if len(fields) != len(size):
        raise ArgumentError.of(
            "synth.warp",
            f"{len(size)} fields, one an axis",
            f"{len(fields)}",
            f"LocalAugment(warp, fields={len(size)})",
        )
    places = moved(fields, strength)
    flat = x.reshape(-1, *size)
    out = np.stack([map_coordinates(plane, places, order=order, mode="nearest") for plane in flat])
    return out.reshape(x.shape)


def moved(fields: np.ndarray, strength: float) -> np.ndarray:
    """Where each pixel of a warped image comes from: coordinates (D, *size), within the image."""
    size = fields.shape[1:]
    places = np.stack(np.meshgrid(*(np.arange(n, dtype=float) for n in size), indexing="ij"))
    for axis, n in enumerate(size):
        places[axis] = np.clip(places[axis] + strength * n / 4 * (2 * fields[axis] - 1), 0, n - 1)
    return places
