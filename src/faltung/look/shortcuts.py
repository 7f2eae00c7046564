"""Whether a kind of network takes a shortcut: trained on pictures that bear a mark of their label, what is left without it?"""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.look.tables import table
from faltung.readers import first_tensor, undisturbed
from faltung.synth import ClasswiseConv

_SIDE, _CLASSES, _EACH = 16, 10, 60


@dataclass(frozen=True)
class Shortcut:
    """Accuracies of one kind of network, trained on clean pictures and on marked ones, on pictures that it has not seen.

    Fields: clean: trained and asked without marks.   marked: trained and asked with them.   unmarked: trained with marks, asked
        without.   followed: trained with marks, asked about pictures with the mark of another class: how often that one is said.
        chance: one over the number of classes.
    """

    clean: float
    marked: float
    unmarked: float
    followed: float
    chance: float

    @property
    def reliance(self) -> float:
        """How much of what is learnt without marks is lost with them, 0 to 1; NaN where nothing is learnt without marks."""
        if self.clean <= self.chance:
            return nan
        return min(max((self.clean - self.unmarked) / (self.clean - self.chance), 0.0), 1.0)

    def table(self) -> str:
        """For people."""
        header = ["clean", "marked", "unmarked", "followed", "chance", "reliance"]
        return table(header, [[*(getattr(self, name) for name in header)]])


def shortcut_test(
    model_fn: Callable[[], nn.Module],
    x: Any = None,
    y: Any = None,
    *,
    fit: Callable[[nn.Module, Tensor, Tensor], Any] | None = None,
    mark: ClasswiseConv | None = None,
    held_out: float = 0.3,
    seed: int = 0,
) -> Shortcut:
    """Train a kind of network on clean pictures and on pictures blurred by a kernel of their label, and ask both about others.

    A network that learns "kernel, therefore label" is right about marked pictures and lost without marks.

    Formula: reliance `(clean − unmarked) / (clean − 1/K)`, accuracies on held-out pictures, K classes.

    Shapes: x (samples, channels, h, w) of numbers from 0 to 1, y (samples) classes from 0; the model returns (batch, classes).

    Args:
        model_fn: makes a fresh network, called twice.   x, y: the pictures. Default: ten textures, 600 waves in noise, 16 × 16.
        fit: trains a network in place, given pictures and labels. Default: 300 steps of Adam with 64 pictures, rate from 3e-3 to 0.
        mark: the marks. Default: `ClasswiseConv(seed, classes)`, as published.   held_out: share not trained with. Default 0.3.
        seed: of the default pictures, the split, the first weights and the order of training; the global random numbers are left
            alone.

    Raises:
        ArgumentError: pictures without labels, other shapes, fewer than two classes, marks for fewer classes, results of another
            shape.

    Cost: two trainings.
    Source: Sadasivan, Soltanolkotabi and Feizi, CUDA: convolution-based unlearnable datasets (2023).
    """
    pictures, labels = _textures(seed) if x is None and y is None else _checked(x, y)
    count = int(labels.max()) + 1
    mark = ClasswiseConv(seed, count) if mark is None else mark
    if count < 2 or mark.num_classes < count or not 0 < held_out < 1:
        raise ArgumentError.of(
            "shortcut_test", "two classes or more, a mark for each, held_out within 0 and 1",
            f"{count} classes, marks for {mark.num_classes}, held_out {held_out}", "check them",
        )  # fmt: skip
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    asked, taught = np.split(order, [max(1, round(held_out * len(labels)))])
    if not len(taught):
        raise ArgumentError.of("shortcut_test", "pictures to train with", f"{len(labels)} in all", "pass more")
    others = (labels[asked] + rng.integers(1, count, len(asked))) % count

    def trained(given: np.ndarray) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = model_fn()
            (fit or _fit)(model, *_tensors(model, given, labels[taught]))
        return model

    plain, shown = trained(pictures[taught]), trained(mark.apply(pictures[taught], labels[taught]))
    found = pictures[asked]
    return Shortcut(
        clean=_share(plain, found, labels[asked]),
        marked=_share(shown, mark.apply(found, labels[asked]), labels[asked]),
        unmarked=_share(shown, found, labels[asked]),
        followed=_share(shown, mark.apply(found, others), others),
        chance=1 / count,
    )


def _textures(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ten classes of waves, each with its own direction and length, of any phase, in noise; the largest value of each is 1."""
    rng = np.random.default_rng((seed, _CLASSES))
    labels = np.arange(_CLASSES * _EACH) % _CLASSES
    angle, turns = np.pi * (labels % 5) / 5, np.where(labels < 5, 2.5, 5.0)
    rows, columns = np.meshgrid(np.arange(_SIDE), np.arange(_SIDE), indexing="ij")
    along = np.cos(angle)[:, None, None] * rows + np.sin(angle)[:, None, None] * columns
    phase = rng.uniform(0, 2 * np.pi, (len(labels), 1, 1))
    waves = np.cos(2 * np.pi * turns[:, None, None] * along / _SIDE + phase)
    made = 0.5 + 0.05 * waves + 0.1 * rng.standard_normal(waves.shape)
    made = made.clip(0, None)[:, None]
    return (made / made.max((1, 2, 3), keepdims=True)).astype(np.float32), labels


def _checked(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    pictures, labels = (np.asarray(v.detach().cpu() if isinstance(v, Tensor) else v) for v in (x, y))
    fits = pictures.ndim == 4 and labels.shape == pictures.shape[:1] and len(labels) and labels.dtype.kind in "iu"
    if not fits or labels.min() < 0:
        raise ArgumentError.of(
            "shortcut_test", "x (samples, channels, h, w) and a class from 0 for each", f"{pictures.shape} and {labels.shape}",
            "pass both, or none",
        )  # fmt: skip
    return pictures.astype(np.float32), labels


def _tensors(model: nn.Module, pictures: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    held = next(iter(model.parameters()), torch.zeros(()))
    return torch.from_numpy(pictures).to(held), torch.from_numpy(labels).long().to(held.device)


def _fit(model: nn.Module, x: Tensor, y: Tensor) -> None:
    steps = 300
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, steps)
    model.train()
    for _ in range(steps):
        some = torch.randint(0, len(x), (64,)).to(x.device)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[some]), y[some]).backward()
        optimizer.step()
        slower.step()


def _share(model: nn.Module, pictures: np.ndarray, labels: np.ndarray) -> float:
    """The share of pictures that are given a label."""
    x, y = _tensors(model, pictures, labels)
    with undisturbed(model), torch.no_grad():
        scores = first_tensor(model(x))
    if scores is None or scores.ndim != 2 or len(scores) != len(y) or scores.shape[1] <= int(y.max()):
        came = "none" if scores is None else str(tuple(scores.shape))
        raise ArgumentError.of("shortcut_test", "results (batch, classes)", came, "check the last layer")
    return float((scores.argmax(1) == y).double().mean())
