"""Crops chosen by what they show, so that a camera that moves by a pixel shows a network the same pixels: `CropSelect`."""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry, rolled, shown
from faltung.nn.functional.polyphase import crop_each, wrapped

SCORES = ("mean", "contrast")
_UNIT = 2.0**12  # values are rounded to whole multiples of 1/4096 for scores, so that their sums are exact in any order
_TAPS = 2.0**8


class CropSelect(Layer):
    """The window of an image that scores highest by what it shows: in front of a classifier, a view that moves with the scene.

    Formula: `y = the crop at argmax over places of score(place)`; `mean` the sum of the values of the crop, `contrast` the sum of
    |x[p] − x[p − 1]| along the last axis within it, or the sum of products with a filter of `crop`'s shape. Of equal scores the
    first place counts.

    With a model it is what the model makes of the crop, resized to what it takes: `CropSelect2d(192, resize=224, model=net)`.

    Values are rounded to multiples of 2^−12 for the score (not in the crop), so that scores are exact sums of integers: two
    images that share a crop give it the same score, wherever it lies, bit for bit. After a shift of the camera by a pixel two
    images share all crops but one strip: they show the network the same pixels if the winner lies in the shared part and
    no crop of the new strip beats it, for winners anywhere alike a share of at least (K − 1)/(K + 1), K = n − crop + 1, of shifts
    along an axis, and (K − 1)²/(2K² − (K − 1)²) of diagonal ones. Cyclic, where every place is a crop, it is 1, but for ties.

    Shapes: input (batch, channels, *n), returns (batch, channels, *crop), or *resize; with a model what that returns.

    Args:
        ndim: number of spatial axes.   crop: sizes, one number or one for each axis, at most the image's.
        score: `mean`, `contrast`, a list or tensor of the crop's shape, or a module that gives a number for every crop, each from
            its crop alone, (batch, *places) or (batch, 1, *places): a network of convolutions without padding, say. Default mean.
        cyclic: whether crops go round the image's end. Default False.
        resize: sizes to which the crop is brought, one number or one for each axis, linearly between samples, by their middles as
            `torch.nn.functional.interpolate` does. Default: none.
        model: what the crop is handed to. Default: none, the crop is the result.

    Raises:
        ArgumentError: settings that name no layer, images smaller than the crop.   DtypeError: no tensor of real numbers.

    Error: none in the crop; values beyond ±2^20, or larger crops than 2^20 values, could leave the exact range of scores. Those of
        a module are as exact as it is: they are rounded to 2^−12, and two close to half a step may still differ.
    Cost: running sums, 2·ndim additions an input value; for a filter one convolution.
    Source: as below.

    Example:
        >>> CropSelect(1, 2)(torch.tensor([[[0.0, 1.0, 3.0, 2.0, 0.0]]]))
        tensor([[[3., 2.]]])
    """

    name = "crop-select"
    summary = "the window of an image that scores highest by what it shows"
    source = "Shifman and Weiss, Lost in translation: neural networks and small realistic image transformations (2024)"
    dims = (1, 2, 3, 4)
    cost = "2 · ndim additions"
    portrait = shown("photo", (1, 1, 96, 96), ndim=2, crop=48)

    def __init__(
        self,
        ndim: int,
        crop: Any,
        score: Any = "mean",
        cyclic: bool = False,
        resize: Any = None,
        model: nn.Module | None = None,
    ) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        self.crop = functional.numbers("crop", crop, self.ndim, 1)
        self.cyclic, self.filter = bool(cyclic), None
        self.resize = None if resize is None else functional.numbers("resize", resize, self.ndim, 1)
        if model is not None and not isinstance(model, nn.Module):
            raise ArgumentError.of("CropSelect", "a module as model", type(model).__name__, "wrap it in one")
        self.model = model
        if isinstance(score, nn.Module):
            pass  # a module by its own name
        elif isinstance(score, str):
            if score not in SCORES:
                raise ArgumentError.of(
                    "CropSelect", f"a score among {', '.join(SCORES)} or a filter", repr(score), "use 'mean'"
                )
        else:
            taps = torch.as_tensor(score, dtype=torch.float64)
            if tuple(taps.shape) != self.crop:
                raise ArgumentError.of(
                    "CropSelect", f"a filter of shape {self.crop}", f"{tuple(taps.shape)}", "match the crop"
                )
            score = taps.tolist()
            self.filter = score
        self.score = score

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, self.ndim)
        found = crop_each(input, self.place(input), self.crop)
        if self.resize is not None:
            for axis, (n, m) in enumerate(zip(self.crop, self.resize, strict=True), 2):
                weights = _between(n, m, found)
                found = torch.matmul(found.movedim(axis, -1), weights.T).movedim(-1, axis)
        return found if self.model is None else self.model(found)

    def place(self, input: Tensor) -> Tensor:
        """Where the chosen crop begins along each axis, (batch, ndim), int64."""
        scores = self.scores(input)
        if not scores.shape[0]:
            return torch.zeros(0, self.ndim, dtype=torch.int64, device=input.device)
        best = (scores == scores.flatten(1).amax(1).reshape(-1, *[1] * self.ndim)).flatten(1).to(torch.int8).argmax(1)
        found: list[Tensor] = []
        for n in reversed(scores.shape[1:]):
            found.insert(0, best % n)
            best = best // n
        return torch.stack(found, 1)

    def scores(self, input: Tensor) -> Tensor:
        """The score of the crop at every place, (batch, *places), int64 in units of 2^−12 (filters: 2^−20)."""
        if input.is_complex():
            raise DtypeError.of("CropSelect", "a tensor of real numbers", f"{input.dtype}", "take the modulus")
        if any(n < m for n, m in zip(input.shape[2:], self.crop, strict=True)):
            raise ArgumentError.of(
                "CropSelect",
                f"an image of at least the crop {self.crop}",
                f"{tuple(input.shape[2:])}",
                "use a smaller crop",
            )
        if isinstance(self.score, nn.Module):
            return self._judged(input)
        x = (input.detach().double() * _UNIT).round()
        if self.cyclic:
            x = wrapped(x, tuple((0, m - 1) for m in self.crop))
        if self.filter is not None:
            taps = torch.tensor(self.filter, dtype=torch.float64, device=x.device)
            taps = (taps * _TAPS).round().reshape(1, 1, *self.crop)
            # Sums of integers below 2^53 are exact in float64, whatever the order; a transform's error is rounded away.
            return functional.conv(x.sum(1, keepdim=True), taps).round().long().squeeze(1)
        whole = x.long()
        if self.score == "contrast":
            whole = torch.cat((torch.zeros_like(whole[..., :1]), whole.diff(dim=-1).abs()), -1)
        sums = whole.sum(1)
        for axis, m in enumerate(self.crop, 1):
            # Within a crop the first difference along the last axis belongs to a sample outside.
            size = m - 1 if self.score == "contrast" and axis == self.ndim else m
            total = nn.functional.pad(sums.movedim(axis, -1), (1, 0)).cumsum(-1)
            late = total[..., m:]
            early = total[..., m - size : m - size + late.shape[-1]]
            sums = (late - early).movedim(-1, axis)
        return sums

    def _judged(self, input: Tensor) -> Tensor:
        """What the module says of every crop, rounded as values are."""
        x = wrapped(input, tuple((0, m - 1) for m in self.crop)) if self.cyclic else input
        with torch.no_grad():
            found = self.score(x)
        places = tuple(n - m + 1 for n, m in zip(x.shape[2:], self.crop, strict=True))
        if tuple(found.shape) == (x.shape[0], 1, *places):
            found = found.squeeze(1)
        if tuple(found.shape) != (x.shape[0], *places):
            raise ArgumentError.of(
                "CropSelect", f"scores {(x.shape[0], *places)}, one for every crop", f"{tuple(found.shape)}",
                "use convolutions without padding whose reach is the crop",
            )  # fmt: skip
        return (found.double() * _UNIT).round().long()

    def definition(self, *inputs: Any) -> Tensor:
        """Every crop by itself."""
        (x,) = inputs
        counts = [n if self.cyclic else n - m + 1 for n, m in zip(x.shape[2:], self.crop, strict=True)]
        if min(counts) < 1:
            raise ArgumentError.of("CropSelect", "an image of at least the crop", f"{tuple(x.shape[2:])}", "crop less")
        places = torch.cartesian_prod(*(torch.arange(n) for n in counts)).reshape(-1, self.ndim)
        rows = []
        for sample in x:
            crops = [
                sample.roll(tuple(-int(p) for p in place), tuple(range(1, 1 + self.ndim)))[
                    (slice(None), *(slice(m) for m in self.crop))
                ]
                for place in places
            ]
            worth = []
            for crop in crops:
                value = (crop.double() * _UNIT).round()
                if isinstance(self.score, nn.Module):
                    worth.append((self.score(crop[None]).double() * _UNIT).round().squeeze())
                elif self.filter is not None:
                    worth.append((value * (torch.tensor(self.filter).double() * _TAPS).round()).sum())
                else:
                    worth.append((value.diff(dim=-1).abs() if self.score == "contrast" else value).sum())
            rows.append(crops[int(torch.stack(worth).argmax())])
        found = torch.stack(rows) if rows else x.new_zeros((*x.shape[:2], *self.crop))
        for axis, (n, m) in enumerate(zip(self.crop, self.resize or (), strict=False), 2):
            at = [min(max((i + 0.5) * n / m - 0.5, 0), n - 1) for i in range(m)]
            lower = [min(int(p), n - 1) for p in at]
            pieces = [
                found.select(axis, low) * (1 - p + low) + found.select(axis, min(low + 1, n - 1)) * (p - low)
                for p, low in zip(at, lower, strict=True)
            ]
            found = torch.stack(pieces, axis)
        return found if self.model is None else self.model(found)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        crop = (*inputs[0][:2], *(self.resize or self.crop))
        return crop if self.model is None else _returned(self.model, crop)

    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def symmetries(self) -> Iterable[Symmetry]:
        if self.cyclic:  # a crop of the whole circle shows the same everywhere, but rolled
            yield rolled(
                1, self.ndim, stays=True, fits=lambda x: all(n > m for n, m in zip(x.shape[2:], self.crop, strict=True))
            )

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "crop": 3, "cyclic": True}, ((2, 2, 8),))
        yield Example({"ndim": 2, "crop": (2, 3), "score": "contrast", "resize": (3, 2)}, ((2, 2, 4, 5),))
        yield Example({"ndim": 2, "crop": 2, "score": ((1.0, -0.5), (0.25, 2.0)), "cyclic": True}, ((2, 2, 4, 3),))
        yield Example({"ndim": 3, "crop": (1, 2, 2)}, ((1, 2, 2, 4, 3),))
        yield Example({"ndim": 4, "crop": 2, "score": "contrast", "cyclic": True}, ((1, 1, 2, 3, 2, 3),))


def _returned(model: nn.Module, size: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a model's result, found without its numbers."""
    one = next((p for p in model.parameters() if p.is_floating_point() or p.is_complex()), torch.empty(0))
    try:
        with torch.no_grad():
            shape = copy.deepcopy(model).to("meta").eval()(torch.empty(size, dtype=one.dtype, device="meta")).shape
    except (RuntimeError, AttributeError) as error:
        raise ArgumentError.of(
            "CropSelect.shapes", "a model that makes one tensor, of a shape that follows from its input's",
            f"{type(error).__name__}: {error}", "call the layer and look at its result",
        ) from error  # fmt: skip
    return tuple(shape)


def _between(n: int, m: int, like: Tensor) -> Tensor:
    """The matrix (m, n) that brings n samples to m, linearly, the middles of both ends staying where they are."""
    before, after = (torch.arange(size, dtype=torch.float64, device=like.device) for size in (n, m))
    at = ((after + 0.5) * n / m - 0.5).clamp(0, n - 1)
    return (1 - (at[:, None] - before).abs()).clamp(min=0).to(like.dtype)
