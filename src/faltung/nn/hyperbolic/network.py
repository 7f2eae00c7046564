"""The residual block of hyperbolic networks, and the published network."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer
from faltung.nn.hyperbolic.conv import PoincareConv
from faltung.nn.hyperbolic.linear import PoincareAdd, PoincareLinear, PoincarePool
from faltung.nn.hyperbolic.norm import PoincareBatchNorm
from faltung.nn.hyperbolic.planes import SOURCE
from faltung.planner import Policy


class PoincareBlock(Layer):
    """Two hyperbolic convolutions with a norm each beside a skip by Möbius addition; ReLU acts on tangent vectors.

    Formula: `y = relu(BN(B ∗ relu(BN(A ∗ x))) ⊕ skip(x))`, skip the identity, or a convolution of one tap with its norm where
    stride or channels change.

    Shapes: input (batch, in, *n), returns (batch, out, *⌈n / stride⌉), tangent vectors at 0.

    Args:
        ndim: number of spatial axes, 1 to 4.   in_channels: at least 1.   out_channels: Default None: in_channels.
        stride: of the first convolution. Default 1.   c: of the curvature −c, at least 0. Default 0.1.
        gain, init: of the convolutions, see `PoincareConv`.   device, dtype, policy: see `Conv`.

    Raises:
        ArgumentError: settings that name no block.

    Source: van Spengler, Berkhout and Mettes, Poincaré ResNet (2023).

    Example:
        >>> PoincareBlock(2, 8, 16, stride=2)(torch.zeros(1, 8, 6, 6)).shape
        torch.Size([1, 16, 3, 3])
    """

    name = "poincare-block"
    summary = "two hyperbolic convolutions beside a skip by Möbius addition"
    source = SOURCE
    cost = "2 · channels · 3^ndim + 200"
    dims = (1, 2, 3, 4)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int | None = None,
        stride: int = 1,
        c: float = 0.1,
        gain: Any = 1.0,
        init: str = "identity",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        out = in_channels if out_channels is None else out_channels
        self.ndim, self.in_channels, self.out_channels, self.stride = functional.numbers(
            "ndim, in_channels, out_channels, stride", (ndim, in_channels, out, stride), 4, 1
        )
        factory = {"device": device, "dtype": dtype}
        common = {"c": c, "gain": gain, "init": init, "policy": policy, **factory}
        self.first = PoincareConv(ndim, in_channels, out, 3, stride, 1, **common)
        self.second = PoincareConv(ndim, out, out, 3, 1, 1, **common)
        self.norms = nn.ModuleList(PoincareBatchNorm(ndim, out, c, **factory) for _ in range(2))
        self.skip: nn.Sequential | None = None
        if self.stride > 1 or self.in_channels != self.out_channels:
            short = PoincareConv(ndim, in_channels, out, 1, stride, **common)
            self.skip = nn.Sequential(short, PoincareBatchNorm(ndim, out, c, **factory))
        self.add = PoincareAdd(c)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim)
        y = self.norms[0](self.first(input)).relu()
        y = self.norms[1](self.second(y))
        return self.add(y, input if self.skip is None else self.skip(input)).relu()

    def definition(self, *inputs: Any) -> Tensor:
        (x,), (one, two) = inputs, self.norms

        def positive(v: Tensor) -> Tensor:
            return torch.where(v > 0, v, 0)

        y = two.definition(self.second.definition(positive(one.definition(self.first.definition(x)))))
        short = x if self.skip is None else self.skip[1].definition(self.skip[0].definition(x))
        return positive(self.add.definition(y, short))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.out_channels, *(-(-n // self.stride) for n in inputs[0][2:]))

    def parameter_count(self) -> int:
        parts = [self.first, self.second, *self.norms, *(self.skip or ())]
        return sum(part.parameter_count() for part in parts)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "in_channels": 2, "out_channels": 3, "stride": 2}, ((2, 2, 5),))
        yield Example({"ndim": 2, "in_channels": 2, "init": "normal", "c": 0.5}, ((1, 2, 3, 2),))


def poincare_resnet(
    in_channels: int = 3,
    classes: int = 10,
    depth: int = 20,
    widths: tuple[int, ...] = (8, 16, 32),
    ndim: int = 2,
    c: float = 0.1,
    gain: Any = 1.0,
    init: str = "identity",
) -> nn.Sequential:
    """The published residual network: a convolution, stages of blocks that halve the map, midpoint and scores.

    Published training: Adam, rate 1e-3, weight decay 1e-4, batches of 128; depths 20 and 32, widths 8, 16, 32, c = 0.1.

    Args:
        in_channels, classes: at least 1.   depth: 2 more than a multiple of twice the number of stages. Default 20.
        widths: channels of the stages.   ndim: spatial axes. Default 2.   c: of the curvature −c. Default 0.1.
        gain, init: see `PoincareConv`.

    Returns:
        A torch.nn.Sequential from (batch, in_channels, *n), read as tangent vectors, to (batch, classes).

    Raises:
        ArgumentError: a depth that stages of whole blocks do not make.

    Source: van Spengler, Berkhout and Mettes, Poincaré ResNet (2023).

    Example:
        >>> poincare_resnet(1, 10, 8).eval()(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    blocks, rest = divmod(depth - 2, 2 * max(len(widths), 1))
    if rest or blocks < 1 or not widths:
        raise ArgumentError.of(
            "poincare_resnet", f"a depth of 2 more than a multiple of {2 * len(widths)}", repr(depth), "use 20"
        )
    common = {"c": c, "gain": gain, "init": init}
    body: list[nn.Module] = [
        PoincareConv(ndim, in_channels, widths[0], 3, 1, 1, **common), PoincareBatchNorm(ndim, widths[0], c), nn.ReLU()
    ]  # fmt: skip
    before = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            body.append(PoincareBlock(ndim, before, width, 2 if stage and not block else 1, **common))
            before = width
    return nn.Sequential(*body, PoincarePool(c), PoincareLinear(before, classes, c=c, init="normal", gain=1.0))
