"""The layer `RecConv`: a large receptive field by one small depthwise kernel on coarser and coarser copies of the signal."""

import math
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, Symmetry, rolled, shown
from faltung.nn.conv import Conv
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.functional.resample import resample_by_matrices, way_of
from faltung.planner import Policy


class RecConv(Layer):
    """A recursive convolution: down by strided small kernels, and up again, each scale refined by a small kernel of its own.

    Formula: with the depthwise convolutions D (stride 2) and C_0 … C_ℓ (stride 1), ℓ = levels,

        f_0 = x,  f_{j+1} = D(f_j);     u = 0;  for j = ℓ … 1: u = up(C_{ℓ−j}(f_j + u), size of f_{j−1});     y = C_ℓ(x + u)

    The receptive field is about `kernel_size · 2^levels` samples wide. The layer is linear but not shift-invariant: shifts by
    2^levels alone commute with it, where sizes divide by that (everywhere with circular margins and nearest, inside otherwise).

    Shapes: input (batch, channels, *n) of any sizes, returns the same.

    Args:
        ndim: number of spatial axes, at least 1.   channels: at least 1.
        kernel_size: odd number of taps, one for all spatial axes or one for each. Default 5.
        levels: how often the signal is halved, at least 0 (then the layer is one depthwise convolution). Default 2.
        upsample: `bilinear` (linear in any dimension, corners not aligned) or `nearest`. Default bilinear.
        bias: whether each convolution adds a learnt constant. Default False.
        share_down: whether one convolution D serves all levels, or each has its own. Default True.
        padding_mode, policy: see `faltung.nn.functional.conv`.   device, dtype: of the parameters. Default: torch's.

    Returns: a tensor like the input.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: in two dimensions (1 + 2·(¼ + … + 4^−levels)) times one depthwise convolution, below 5/3; `multiply_adds` counts.

    Source: Zhao et al., RecConv (2024).

    Example:
        >>> RecConv(2, 8, levels=3)(torch.zeros(1, 8, 31, 20)).shape
        torch.Size([1, 8, 31, 20])
    """

    name = "rec-conv"
    summary = "a large receptive field by small depthwise kernels on a recursively halved signal"
    source = "Zhao, Luo, Chen, Liu, Zhu, RecConv: efficient recursive convolutions for multi-frequency representations (2024)"
    cost = "kernel_size^ndim · (1 + 2·Σ over levels j ≥ 1 of 2^(−ndim·j))"
    portrait = shown("impulses field", (1, 1, 64, 64), ndim=2, channels=1, levels=3)
    dims = (1, 2, 3, 4)

    def __init__(
        self,
        ndim: int,
        channels: int,
        kernel_size: Any = 5,
        levels: int = 2,
        upsample: str = "bilinear",
        bias: bool = False,
        share_down: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        (self.levels,) = functional.numbers("levels", levels, 1, 0)
        self.kernel_size = functional.numbers("kernel_size", kernel_size, self.ndim, 1)
        if any(t % 2 == 0 for t in self.kernel_size):
            raise ArgumentError.of(
                type(self).__name__, "an odd kernel_size, which keeps sizes", str(kernel_size), "add or drop one tap"
            )
        self.way = way_of(upsample, "upsample")
        settings = {
            "padding": tuple(t // 2 for t in self.kernel_size), "groups": channels, "bias": bias, "padding_mode": padding_mode,
            "device": device, "dtype": dtype, "policy": policy,
        }  # fmt: skip
        downs = min(self.levels, 1) if share_down else self.levels
        made = [
            Conv(self.ndim, channels, channels, self.kernel_size, stride, **settings)
            for stride in (2,) * downs + (1,) * (self.levels + 1)
        ]
        self.channels, self.padding_mode = channels, padding_mode
        self.down, self.refine = nn.ModuleList(made[:downs]), nn.ModuleList(made[downs:])

    def _downs(self) -> list[Any]:
        """The strided convolution of every level."""
        return [self.down[min(j, len(self.down) - 1)] for j in range(self.levels)]

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        signals = [input]
        for down in self._downs():
            signals.append(down(signals[-1]))
        coarse = self.refine[0](signals.pop())
        for refine in list(self.refine)[1:]:
            coarse = refine(functional.add_resampled(signals.pop(), coarse, self.way))
        return coarse

    def definition(self, *inputs: Any) -> Tensor:
        """The recursion from the inside: what is added to the signal of a level is the refined signal of the next."""

        def conv(layer: Any, x: Tensor) -> Tensor:
            return conv_by_taps(
                x, layer.weight, layer.bias, layer.stride, layer.pads, layer.dilation, layer.groups, self.padding_mode
            )

        def refined(x: Tensor, level: int) -> Tensor:
            """C of the level on x plus what comes from below, before it is enlarged."""
            if level < self.levels:
                below = refined(conv(self._downs()[level], x), level + 1)
                x = x + resample_by_matrices(below, x.shape[2:], self.way)
            return conv(self.refine[self.levels - level], x)

        return refined(inputs[0], 0)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def symmetries(self) -> Iterable[Symmetry]:
        """Shifts by 2^levels, for sizes that divide by that; linear enlarging holds still at the edges and spoils it there."""
        if self.padding_mode == "circular" and (self.way == "nearest" or self.levels == 0):
            yield rolled(2**self.levels, self.ndim)

    def parameter_count(self) -> int:
        each = self.channels * (math.prod(self.kernel_size) + (self.refine[0].bias is not None))
        return (len(self.down) + self.levels + 1) * each

    def multiply_adds(self, sizes: Any) -> int:
        """Multiplications and additions of all convolutions for one sample of these spatial sizes.

        Shapes: sizes, one whole number for each spatial axis.

        Example:
            >>> RecConv(2, 1, levels=1).multiply_adds((8, 8)) / (8 * 8 * 25)
            1.5
        """
        sizes, total = functional.numbers("sizes", sizes, self.ndim, 1), 0
        for level in range(self.levels + 1):
            total += math.prod(sizes) * (1 if level == 0 else 2)
            sizes = tuple(-(-n // 2) for n in sizes)
        return total * self.channels * math.prod(self.kernel_size)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 2, "levels": 3, "share_down": False, "bias": True}, ((2, 2, 11),))
        yield Example({"ndim": 2, "channels": 3, "levels": 1}, ((2, 3, 5, 6),))
        yield Example(
            {"ndim": 2, "channels": 2, "kernel_size": (3, 5), "upsample": "nearest", "padding_mode": "circular"},
            ((1, 2, 8, 4),),
        )
        yield Example({"ndim": 2, "channels": 2, "kernel_size": 3, "levels": 0, "bias": True}, ((1, 2, 3, 4),))
        yield Example({"ndim": 3, "channels": 1, "kernel_size": 3}, ((1, 1, 4, 3, 5),))
        yield Example({"ndim": 4, "channels": 1, "kernel_size": 3, "levels": 1}, ((1, 1, 3, 2, 3, 4),))
        yield Example(
            {"ndim": 4, "channels": 1, "kernel_size": 3, "levels": 1, "upsample": "nearest"}, ((1, 1, 2, 3, 2, 3),)
        )
