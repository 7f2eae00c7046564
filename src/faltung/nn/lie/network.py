"""The published network over a matrix group: a lift, residual blocks, a maximum over elements and places, a classifier."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry
from faltung.nn.lie.conv import LieGroupConv, LieLiftConv, quarter_turn
from faltung.nn.lie.groups import matrix_group
from faltung.nn.lie.pool import SOURCE, LieBatchNorm, LieGroupPool
from faltung.nn.lie.samples import GroupSamples, quarter_turns
from faltung.planner import Policy


class LieResidualBlock(Layer):
    """Two group convolutions over a matrix group with a norm each, beside a shortcut.

    Formula: `y = relu(x + BN(B ∗ relu(BN(A ∗ x))))`.

    Shapes: input (batch, fields·|sample|, *n), returns the same.

    Args:
        ndim: number of spatial axes, 1 to 3.   fields: at least 1.   kernel_size: odd. Default 3.
        group, num_samples, kernel_net, seed, hidden, layers, omega, spread: see `LieGroupConv`.
        device, dtype, policy: see `Conv`.

    Raises:
        ArgumentError: settings that name no block.

    Source: Mironenco and Forré, Lie group decompositions for equivariant neural networks (2024).

    Example:
        >>> LieResidualBlock(2, 4, 3, "SL")(torch.zeros(1, 40, 6, 6)).shape
        torch.Size([1, 40, 6, 6])
    """

    name = "lie-residual-block"
    summary = "two convolutions over a sampled matrix group beside a shortcut"
    source = SOURCE
    cost = "2 · |sample|² · fields · Π kernel_size for each field"
    dims = (1, 2, 3)

    def __init__(
        self,
        ndim: int,
        fields: int,
        kernel_size: Any = 3,
        group: Any = "SL",
        num_samples: int | None = None,
        kernel_net: str = "siren",
        seed: int | None = None,
        hidden: int = 60,
        layers: int = 2,
        omega: float = 10.0,
        spread: float = 0.1,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.ndim, self.fields = functional.numbers("ndim, fields", (ndim, fields), 2, 1)
        sizes = functional.numbers("kernel_size", kernel_size, self.ndim, 1)
        if any(not t % 2 for t in sizes):
            raise ArgumentError.of("LieResidualBlock", "odd numbers of taps", repr(kernel_size), "add one")
        factory = {"device": device, "dtype": dtype}
        if not isinstance(group, GroupSamples):
            group = GroupSamples(
                matrix_group(group, self.ndim), 10 if num_samples is None else num_samples, spread,
                seed=0 if seed is None else seed, fresh=False, **factory,
            )  # fmt: skip
        elif num_samples is not None or seed is not None:
            raise ArgumentError.of(
                "LieResidualBlock", "num_samples and seed only without shared samples", f"{num_samples!r}, {seed!r}",
                "leave them out",
            )  # fmt: skip
        common = {
            "group": group, "kernel_net": kernel_net, "hidden": hidden, "layers": layers, "omega": omega, "padding": "same",
            "bias": False, "policy": policy, **factory,
        }  # fmt: skip
        self.convs = nn.ModuleList(LieGroupConv(ndim, fields, fields, kernel_size, **common) for _ in range(2))
        self.norms = nn.ModuleList(LieBatchNorm(ndim, fields, **factory) for _ in range(2))

    def forward(self, input: Tensor) -> Tensor:
        y = self.norms[0](self.convs[0](input)).relu()
        return (input + self.norms[1](self.convs[1](y))).relu()

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs

        def positive(v: Tensor) -> Tensor:
            return torch.where(v > 0, v, 0)

        (one, two), (first, second) = self.convs, self.norms
        y = positive(first.definition(one.definition(x)))
        return positive(x + second.definition(two.definition(y)))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return sum(part.parameter_count() for part in (*self.convs, *self.norms))

    def symmetries(self) -> Iterable[Symmetry]:
        by = quarter_turns(self.convs[0].samples)
        if by is not None and len(set(self.convs[0].kernel_size)) == 1:
            yield quarter_turn(self.convs[0].samples.count, by)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        few = {"num_samples": 2, "hidden": 3, "omega": 3.0}
        yield Example({"ndim": 2, "fields": 1, "group": "SL", **few}, ((2, 2, 3, 4),))
        yield Example(
            {"ndim": 1, "fields": 2, "kernel_size": 3, "group": "GL+", **few, "kernel_net": "wire", "layers": 1}, ((1, 4, 5),)
        )  # fmt: skip
        yield Example({"ndim": 2, "fields": 1, "group": "SO", **few, "num_samples": 4}, ((1, 4, 4, 3),))


def lie_network(
    in_channels: int,
    classes: int,
    group: Any = "SL",
    width: int = 40,
    blocks: int = 2,
    ndim: int = 2,
    kernel_size: int = 5,
    head: int = 256,
    dropout: float = 0.3,
    num_samples: int = 10,
    seed: int = 0,
    hidden: int = 60,
    spread: float = 0.1,
    rotations: str = "equidistant",
    fresh: bool = True,
) -> nn.Sequential:
    """The published classifier for affine-transformed images, all of its layers on one shared sample.

    A lift of 5 × 5 taps without padding, residual blocks, the maximum over the group and over places, a hidden layer of `head` with
    dropout, scores. Published training: Adam, rate 2e-4, weight decay 5e-3, 50 epochs, batches of 128.

    Args:
        in_channels, classes: at least 1.   group: "GL+", "SL", "SO" or a group.   width: fields. Default 40.
        blocks: residual blocks of 3 taps. Default 2.   ndim: spatial axes. Default 2.   kernel_size: of the lift. Default 5.
        head: hidden numbers of the classifier, 0 for none. Default 256.   dropout: Default 0.3.
        num_samples, seed, spread, rotations, fresh: see `GroupSamples`.   hidden: of the kernels' networks. Default 60.

    Returns:
        A torch.nn.Sequential from (batch, in_channels, *n) to (batch, classes).

    Source: Mironenco and Forré, Lie group decompositions for equivariant neural networks (2024).

    Example:
        >>> lie_network(1, 10, "GL+", width=4, num_samples=4).eval()(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 10])
    """
    samples = GroupSamples(matrix_group(group, ndim), num_samples, spread, rotations, seed=seed, fresh=fresh)
    pool = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)[ndim - 1]
    body: list[nn.Module] = [
        LieLiftConv(ndim, in_channels, width, kernel_size, samples, hidden=hidden, bias=False),
        LieBatchNorm(ndim, width),
        nn.ReLU(),
    ]
    body += [LieResidualBlock(ndim, width, 3, samples, hidden=hidden) for _ in range(blocks)]
    body += [LieGroupPool(ndim, width), pool(1), nn.Flatten()]
    if head:
        body += [nn.Linear(width, head), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*body, nn.Linear(head or width, classes))
