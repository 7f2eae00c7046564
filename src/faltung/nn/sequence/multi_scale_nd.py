"""SGConv: kernels as large as the image or volume of O(log length) parameters, along the axes or by the distance."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, shown
from faltung.nn.sequence.multi_scale import SOURCE, MultiScale, SGConv1d
from faltung.nn.sequence.sequence import wide
from faltung.nn.sequence.spatial import Margins, SpatialLong, axis_parameters, offsets, reset_axes
from faltung.planner import Policy

ALONG = ("axes", "radius")


class SGConv(SpatialLong):
    """A depthwise convolution with a kernel as large as the image of few parameters: stretched pieces that fade.

    Formula: `y[p] = Σ_o k[o] · x[p − o] + D · x[p]` with x zero beyond its ends. Along the axes `k[o] = k₁[o₁] · k₂[o₂] · …`, each
    the filter of an `SGConv1d`. By the radius `k[o] = f(|o|) / Z` with one filter f of a `MultiScale` for all directions, on a
    straight line between its taps and zero from its last on, Z the 2-norm of the whole kernel at its first values. At rates r_a,
    f is asked at the distance √Σ (o_a r_a)², and the kernel is multiplied by Π r_a.

    Shapes: input (batch, channels, *n), returns the same; norm Z (channels), no parameter but stored with them.

    Args:
        ndim: number of spatial axes.   channels: at least 1.
        max_length: reach of the kernel; one number for all axes, or one each along axes.
        along: axes or radius. Default axes.
        direction: of every axis, one word for all or one each; a kernel by the radius is cut in half by causal or anticausal axes.
            Default bidirectional.
        piece, mode, decay, interpolation, init, power, stretch: see `MultiScale`.
        skip: whether a learnt multiple of the input is added. Default True.   policy: see `faltung.nn.functional.conv`.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: a convolution along each axis; by the radius one convolution of spectra and two products a tap of the kernel.

    Source: Li et al., What makes convolutional models great on long sequence modeling? (2023), there for one axis.

    Example:
        >>> SGConv(2, 4, 32, along="radius")(torch.zeros(1, 4, 20, 30)).shape
        torch.Size([1, 4, 20, 30])
    """

    name = "sgconv-nd"
    summary = (
        "kernels as large as the image of O(log length) parameters: stretched pieces along the axes or by the distance"
    )
    source = SOURCE
    cost = "Σ log n, as convolutions of spectra"
    dims = (2, 3)
    portrait = shown("impulses", (1, 1, 24, 24), ndim=2, channels=1, max_length=12, piece=3, along="radius", skip=False)

    norm: Tensor

    def __init__(
        self,
        ndim: int,
        channels: int,
        max_length: int | tuple[int, ...],
        along: str = "axes",
        direction: str | tuple[str, ...] = "bidirectional",
        piece: int = 32,
        mode: str = "cat",
        decay: tuple[float, float] = (2.0, 2.0),
        interpolation: str = "linear",
        init: str = "normal",
        power: tuple[float, float] | None = None,
        stretch: int = 0,
        skip: bool = True,
        policy: Policy | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        nn.Module.__init__(self)
        factory = {"device": device, "dtype": dtype}
        self.settle(ndim, channels, direction, skip, policy, factory)
        if along not in ALONG:
            raise ArgumentError.of("along", f"one of {', '.join(ALONG)}", repr(along), "choose one of these")
        reach = functional.numbers("max_length", max_length, self.ndim, 1)
        settings = (mode, decay, interpolation, init, power, stretch)
        if along == "axes":
            self.axes = nn.ModuleList(
                SGConv1d(channels, n, piece, 1, *settings, word, False, policy=policy, **factory)
                for n, word in zip(reach, self.words, strict=True)
            )
            return
        if len(set(reach)) > 1:
            raise ArgumentError.of(
                "max_length", "one number for a kernel by the radius", repr(max_length), "take the largest"
            )
        self.constructor = MultiScale(channels, reach[0], piece, 1, *settings, **factory)
        self.register_buffer("norm", torch.ones(self.channels, **factory))
        self._take_norm()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the pieces; of a kernel by the radius its norm too: numbers of offsets at each distance times squares."""
        if self.axes is not None:
            reset_axes(self)
            return
        self.constructor.reset_parameters()
        self._take_norm()

    @torch.no_grad()
    def _take_norm(self) -> None:
        weight, reach = self.constructor.weight, self.constructor.longest or 1
        squares = np.zeros(1, np.int64)  # of distances, those alone that there are
        counts = np.ones(1)  # offsets at each of them
        for word in self.words:
            more = np.zeros(reach**2)
            for far in range(reach):
                some = int(np.searchsorted(squares, reach**2 - far**2))
                more[squares[:some] + far**2] += counts[:some] * (2 if far and word == "bidirectional" else 1)
            squares = more.nonzero()[0]
            counts = more[squares]
        taps = self.constructor.filters(reach)[:, 0].double()
        distance, many = (torch.as_tensor(v, device=weight.device) for v in (np.sqrt(squares), counts))
        found = [(self._at(one[None], distance)[0].square() * many).sum() for one in taps]
        self.norm.copy_(torch.stack(found).sqrt())

    def kernel(self, sizes: tuple[int, ...], rates: tuple[float, ...]) -> tuple[Tensor, Margins]:
        reach = self.constructor.longest or 1
        taps = self.constructor.filters(reach)[:, 0]
        square, margins = taps.new_zeros((1,) * self.ndim, dtype=wide(taps)), []
        for axis, (word, size, rate) in enumerate(zip(self.words, sizes, rates, strict=True)):
            at, pair = offsets(word, min(size, math.ceil(reach / rate)), taps)
            square = square + ((at * rate) ** 2).reshape(-1, *[1] * (self.ndim - 1 - axis))
            margins.append(pair)
        scale = (math.prod(rates) / self.norm).reshape(-1, *[1] * self.ndim)
        return (scale * self._at(taps, square.sqrt())).to(taps.dtype)[:, None], margins

    @staticmethod
    def _at(taps: Tensor, distance: Tensor) -> Tensor:
        """The filters (channels, n) at these distances (*), on straight lines between their taps, zero from the n-th on."""
        n = taps.shape[-1]
        low = distance.floor().clamp(max=n)
        part, low = (distance - low).clamp(max=1), low.long()
        taps = nn.functional.pad(taps, (0, 2))
        # At a distance of n or more both neighbours are zeros, whatever their shares.
        return (1 - part) * taps[:, low] + part * taps[:, low + 1]

    def definition_kernel(self, sizes: tuple[int, ...], rates: tuple[float, ...]) -> tuple[Tensor, Margins]:
        """Tap by tap."""
        if self.axes is not None:
            return super().definition_kernel(sizes, rates)
        reach = self.constructor.longest or 1
        taps = self.constructor.definition_filters(reach)[:, 0]
        lines, margins = [], []
        for word, size, rate in zip(self.words, sizes, rates, strict=True):
            at, pair = offsets(word, min(size, math.ceil(reach / rate)), taps)
            lines.append([float(o) * rate for o in at])
            margins.append(pair)
        found = []
        for place in itertools.product(*lines):
            distance = math.hypot(*place)
            low = math.floor(distance)
            near = [taps[:, j] if j < reach else 0 * taps[:, 0] for j in (low, low + 1)]
            found.append((1 - (distance - low)) * near[0] + (distance - low) * near[1])
        whole = torch.stack(found, -1).reshape(self.channels, 1, *map(len, lines))
        return math.prod(rates) * whole / self.norm.reshape(-1, 1, *[1] * self.ndim), margins

    def parameter_count(self) -> int:
        own = axis_parameters(self) if self.axes is not None else self.constructor.parameter_count()
        return own + (0 if self.skip is None else self.channels)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        few = {"ndim": 2, "channels": 2, "max_length": 4, "piece": 2}
        yield Example(few, ((2, 2, 5, 4),))
        yield Example({**few, "along": "radius", "decay": (1.5, 2.0)}, ((2, 2, 5, 4),))
        words = ("causal", "bidirectional", "anticausal")
        most = {
            "ndim": 3,
            "channels": 1,
            "max_length": 3,
            "piece": 2,
            "power": (0.2, 0.5),
            "direction": words,
            "skip": False,
        }
        yield Example({**most, "along": "radius", "mode": "sum", "interpolation": "nearest"}, ((1, 1, 3, 4, 2),))
        yield Example({**most, "max_length": (3, 2, 4), "init": "cosine"}, ((1, 1, 3, 4, 2),))
