"""Local augmentation: any global change of an image becomes a smooth local one, the same for the image, its mask and its points.

Source: Nicolaou et al., TorMentor: deterministic dynamic-path data augmentations with fractals (2022).
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from faltung.arrays import import_torch, is_torch
from faltung.errors import ArgumentError
from faltung.synth.draws import Source, random
from faltung.synth.plasma import plasma
from faltung.synth.warping import landed, moved, warp


@dataclass(frozen=True)
class State:
    """What was drawn for one image: plasma fields of its size, and how strong the change is."""

    fields: Any
    strength: Any


@dataclass(frozen=True)
class Batch:
    """What was drawn for each image of a batch."""

    states: tuple[Any, ...]


class Change:
    """A change that is drawn once and applied to as many targets as wanted: what `LocalAugment`, `Cascade` and `Choice` share.

    A subclass draws one image's state, changes one target, and says where points go; batches follow.
    """

    takes: frozenset[str] = frozenset()
    """The keywords that `apply` hands on."""

    def draw(self, size: tuple[int, ...], generator: np.random.Generator) -> Any:
        """The state of one image."""
        raise ArgumentError.of(type(self).__name__, "draw()", "none", "write it")

    def change(self, x: Any, state: Any, given: dict[str, Any]) -> Any:
        """One target changed."""
        raise ArgumentError.of(type(self).__name__, "change()", "none", "write it")

    def land(self, points: np.ndarray, state: Any) -> np.ndarray:
        """Where points (N, D) go, float64."""
        raise ArgumentError.of(type(self).__name__, "land()", "none", "write it")

    def sample_state(self, size: Sequence[int], rng: Source = 0, batch: int | None = None) -> Any:
        """What to apply to targets of this size, one image or `batch` of them; the same seed draws the same."""
        generator, sizes = random(rng, f"synth.{type(self).__name__}"), tuple(size)
        if batch is None:
            return self.draw(sizes, generator)
        return Batch(tuple(self.draw(sizes, generator) for _ in range(batch)))

    def apply(self, x: Any, state: Any, **given: Any) -> Any:
        """The change of one target (..., *size), or of a batch (B, ..., *size) with the state of one.

        Args:
            given: what the function takes besides, `order` for `warp` or `other` for `blend`; arrays of a batch sample by sample.

        Returns: an array or a tensor, as x; of tensors differentiable as far as the function is.
        Raises: ArgumentError for a target of another size or number than its state, or keywords that no function takes.
        """
        who = f"synth.{type(self).__name__}.apply"
        if unknown := set(given) - self.takes:
            raise ArgumentError.of(
                who, f"keywords among {sorted(self.takes)}", f"{sorted(unknown)}", "check the function"
            )
        if not isinstance(state, Batch):
            return self.change(x, state, given)
        _same_number(who, x, state)
        made = [
            self.change(x[b], own, {name: value[b] if np.ndim(value) else value for name, value in given.items()})
            for b, own in enumerate(state.states)
        ]
        return import_torch(who).stack(made) if is_torch(x) else np.stack(made)

    def points(self, points: Any, state: Any) -> Any:
        """Where points of the image are found in the changed one, in pixels; NaN for those that it does not show.

        Shapes: (N, D), D axes in the order of the image's, or (B, N, D) with the state of a batch; array or tensor.
        Error: see `faltung.synth.warping.landed`; no derivative passes.
        """
        who = f"synth.{type(self).__name__}.points"
        given = points.detach().cpu().numpy() if is_torch(points) else np.asarray(points)
        one = not isinstance(state, Batch)
        if given.ndim != (2 if one else 3):
            raise ArgumentError.of(who, "points (N, D), (B, N, D) for a batch", f"{given.shape}", "add or remove axes")
        if one:
            made = self.land(given.astype(float), state)
        else:
            _same_number(who, given, state)
            made = np.stack([self.land(p.astype(float), s) for p, s in zip(given, state.states, strict=True)])
        return import_torch(who).as_tensor(made, dtype=points.dtype, device=points.device) if is_torch(points) else made


class LocalAugment(Change):
    """A change whose strength is drawn as a plasma field; drawn once, applied to as many targets as wanted.

    Args:
        fn: `fn(x, fields, strength, ...)` with x (..., *size), fields (count, *size) in [0, 1], strength a number; `brighten`,
            `tint`, `blend` and `warp` are four, yours may be a fifth. For tensors x the fields are tensors, in float64.
        fields: how many fields it needs: 1 for `brighten` and `blend`, one a channel for `tint`, one an axis for `warp`.
        roughness: range that the plasma's roughness is drawn from, default 0.1 to 0.7.
        strength: range of the strength, default 0 to 1.
        places: `places(fields, strength)`, from where (D, *size) a changed pixel comes, for a function that moves pixels; points
            follow it. Default: `moved` for `warp`, and None, which is that points stay, for all others.

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
        fn: Callable[..., Any],
        fields: int = 1,
        roughness: tuple[float, float] = (0.1, 0.7),
        strength: tuple[float, float] = (0.0, 1.0),
        places: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        if fields < 1 or not 0 <= roughness[0] <= roughness[1] <= 1 or not strength[0] <= strength[1]:
            raise ArgumentError.of(
                "synth.LocalAugment",
                "fields ≥ 1, roughness within [0, 1], ranges from low to high",
                f"fields {fields}, roughness {roughness}, strength {strength}",
                "put the lower number first",
            )
        self.fn, self.fields, self.roughness, self.strength = fn, fields, roughness, strength
        inner = fn.func if isinstance(fn, partial) else fn
        self.places = moved if places is None and inner is warp else places
        self.takes = frozenset(list(inspect.signature(fn).parameters)[3:])

    def draw(self, size: tuple[int, ...], generator: np.random.Generator) -> State:
        rough = generator.uniform(*self.roughness)
        fields = plasma(size, rough, channels=self.fields, generator=generator)[0]
        return State(fields, generator.uniform(*self.strength))

    def change(self, x: Any, state: State, given: dict[str, Any]) -> Any:
        size = tuple(state.fields.shape[1:])
        if tuple(x.shape[max(x.ndim - len(size), 0) :]) != size:
            raise ArgumentError.of(
                "synth.LocalAugment.apply",
                f"a target (..., {', '.join(map(str, size))})",
                f"{tuple(x.shape)}",
                "draw a state of its size",
            )
        fields = state.fields
        if is_torch(x) and not is_torch(fields):
            # In float64 also for targets of float32: places in a large picture need more digits than its values.
            fields = import_torch("synth.LocalAugment").as_tensor(fields, device=x.device)
        return self.fn(x, fields, state.strength, **given)

    def land(self, points: np.ndarray, state: State) -> np.ndarray:
        axes = len(state.fields.shape) - 1
        if points.shape[1] != axes:
            raise ArgumentError.of(
                "synth.LocalAugment.points", f"points (N, {axes})", f"{points.shape}", "one coordinate an axis"
            )
        if self.places is None:
            return points
        fields = state.fields.detach().cpu().numpy() if is_torch(state.fields) else state.fields
        return landed(points, np.asarray(self.places(fields, float(state.strength))))


def brighten(x: Any, fields: Any, strength: Any) -> Any:
    """Brighter here and darker there: `clip(x + (2P - 1) · strength, 0, 1)`, x (..., *size) in [0, 1]."""
    return (x + _like((2 * fields[0] - 1) * strength, x)).clip(0, 1)


def tint(x: Any, fields: Any, strength: Any) -> Any:
    """Every channel brighter here and darker there by a field of its own: `clip(x_c + (2P_c - 1) · strength, 0, 1)`.

    Shapes: x (..., C, *size) in [0, 1], fields (C, *size).
    Raises: ArgumentError where there are not as many fields as channels.
    """
    axis = x.ndim - len(fields.shape)
    if axis < 0 or x.shape[axis] != len(fields):
        raise ArgumentError.of(
            "synth.tint",
            f"a target (..., {len(fields)}, *size), a field a channel",
            f"{tuple(x.shape)}",
            "LocalAugment(tint, fields=3) for three channels",
        )
    return (x + _like((2 * fields - 1) * strength, x)).clip(0, 1)


def blend(x: Any, fields: Any, strength: Any, other: Any) -> Any:
    """One picture here and another there: `(1 - w) · x + w · other`, `w = strength · P`.

    Shapes: x and other (..., *size) alike. Apply the state of two images to their masks, too: `apply(mask, state, other=its)`.
    Raises: ArgumentError where they differ.
    """
    if tuple(x.shape) != tuple(other.shape):
        raise ArgumentError.of(
            "synth.blend", f"another picture {tuple(x.shape)}", f"{tuple(other.shape)}", "crop or pad one"
        )
    return x + _like(strength * fields[0], x) * (other - x)


def _same_number(who: str, x: Any, state: Batch) -> None:
    if len(x) != len(state.states):
        raise ArgumentError.of(
            who, f"a batch of {len(state.states)}", f"one of {len(x)}", "draw a state with batch=len(x)"
        )


def _like(values: Any, x: Any) -> Any:
    """Values that were computed from fields in the kind of numbers of a tensor; arrays as they are."""
    return values.to(x.dtype) if is_torch(x) else values
