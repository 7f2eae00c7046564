"""Changes one after the other, and one of several: drawn once, as their parts are, and applied to every target alike.

Source: Nicolaou et al., TorMentor: deterministic dynamic-path data augmentations with fractals (2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.synth.local import Change


@dataclass(frozen=True)
class Picked:
    """Which of several changes was drawn, and its own state."""

    index: int
    state: Any


class _Composed(Change):
    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = tuple(changes)
        if not self.changes or not all(isinstance(change, Change) for change in self.changes):
            raise ArgumentError.of(
                f"synth.{type(self).__name__}",
                "at least one change",
                f"{[type(change).__name__ for change in self.changes]}",
                "wrap functions in LocalAugment",
            )
        self.takes = frozenset().union(*(change.takes for change in self.changes))


class Cascade(_Composed):
    """Changes one after the other; the state holds one of each.

    Args: changes: `LocalAugment`, `Cascade` or `Choice`, at least one. Keywords go to those that take them.
    Raises: ArgumentError for none.

    Example:
        >>> from faltung.synth import LocalAugment, brighten, warp
        >>> change = Cascade([LocalAugment(warp, fields=2), LocalAugment(brighten)])
        >>> change.apply(np.ones((8, 8)), change.sample_state((8, 8), rng=0)).shape
        (8, 8)
    """

    def draw(self, size: tuple[int, ...], generator: np.random.Generator) -> tuple[Any, ...]:
        return tuple(change.draw(size, generator) for change in self.changes)

    def change(self, x: Any, state: tuple[Any, ...], given: dict[str, Any]) -> Any:
        for change, own in zip(self.changes, state, strict=True):
            x = change.change(x, own, {name: value for name, value in given.items() if name in change.takes})
        return x

    def land(self, points: np.ndarray, state: tuple[Any, ...]) -> np.ndarray:
        for change, own in zip(self.changes, state, strict=True):
            points = change.land(points, own)
        return points


class Choice(_Composed):
    """One of several changes, drawn for each image; the state says which.

    Args:
        changes: as for `Cascade`.   weights: how likely each is, at least 0, up to a factor. Default: all alike.

    Raises:
        ArgumentError: for no changes, or weights that are no weights.

    Example:
        >>> from faltung.synth import LocalAugment, brighten, warp
        >>> change = Choice([LocalAugment(warp, fields=2), LocalAugment(brighten)], weights=[1, 3])
        >>> [own.index for own in change.sample_state((8, 8), rng=0, batch=4).states]
        [1, 1, 0, 1]
    """

    def __init__(self, changes: Sequence[Change], weights: Sequence[float] | None = None) -> None:
        super().__init__(changes)
        shares = np.ones(len(self.changes)) if weights is None else np.asarray(weights, float)
        if shares.shape != (len(self.changes),) or not (shares >= 0).all() or not 0 < shares.sum() < np.inf:
            raise ArgumentError.of(
                "synth.Choice", f"{len(self.changes)} weights of at least 0, not all 0", f"{weights}", "leave them out"
            )
        self.weights = shares / shares.sum()

    def draw(self, size: tuple[int, ...], generator: np.random.Generator) -> Picked:
        index = int(generator.choice(len(self.changes), p=self.weights))
        return Picked(index, self.changes[index].draw(size, generator))

    def change(self, x: Any, state: Picked, given: dict[str, Any]) -> Any:
        chosen = self.changes[state.index]
        return chosen.change(x, state.state, {name: value for name, value in given.items() if name in chosen.takes})

    def land(self, points: np.ndarray, state: Picked) -> np.ndarray:
        return self.changes[state.index].land(points, state.state)
