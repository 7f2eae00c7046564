"""The block around a reparameterised large convolution: squeeze-excite, a pointwise network with response norm, a shortcut."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, shown
from faltung.nn.branches.merging import AnyBatchNorm, Filter, fold_norm
from faltung.nn.branches.reparam import DilatedReparam
from faltung.nn.branches.scaled_residual import ScaledResidual
from faltung.nn.conv import Conv
from faltung.planner import Policy

LARGE = 7
"""From this number of taps on a kernel has branches of its own."""
_EPS = 1e-6


def kernel_plan(depths: Sequence[int], small: int = 1, large: int = 13) -> list[list[int]]:
    """Kernel sizes of the blocks of a network's four stages, by the published rules: few large kernels, depth by small ones.

    Formula: stage 1 has 3, stages 2 and 4 have `large`, stage 3 has one `large` followed by `small` times 3, over and over.

    Args:
        depths: blocks of each of the four stages.   small: 1 for the tiny network, 2 for larger ones. Default 1.

    Raises:
        ArgumentError: not four stages.

    Example:
        >>> kernel_plan([2, 2, 5, 2], small=2)
        [[3, 3], [13, 13], [13, 3, 3, 13, 3], [13, 13]]
    """
    if len(depths) != 4:
        raise ArgumentError.of("kernel_plan", "four depths", repr(list(depths)), "give one for each stage")
    first, second, third, last = depths
    return [[3] * first, [large] * second, [3 if n % (small + 1) else large for n in range(third)], [large] * last]


class LargeKernelBlock(Layer):
    """A block of a large-kernel network: wide depthwise mixing, channel gates, a pointwise network, all beside a shortcut.

    Formula: `u = SE(BN(mix(x)))`, `v = GRN(GELU(A u + a))`, `y = x + s ⊙ BN(B v)`; mix a `DilatedReparam` from 7 taps on, else a
    plain depthwise convolution; `SE(u) = u · σ(Q relu(P mean(u)))`; `GRN(v) = v·(γ·g / mean_c g + 1) + β` with g = ‖v‖₂ of each
    channel over the sample.

    Shapes: input (batch, channels, *n), returns the same.

    Args:
        ndim: number of spatial axes, 1 to 4.   channels: at least `squeeze`.
        kernel_size: odd taps. Default 13.   branches: see `DilatedReparam`; below 7 taps `auto` means none.
        expansion: how much wider the pointwise network is. Default 4.
        squeeze: channels for each gate's hidden one; None for no gates. Default 4.
        layer_scale: first value of s, None for none. Default 1e-6.   drop_path: see `ScaledResidual`. Default 0.
        deployed: the merged form, without norms, as `deploy` makes it. Default False.
        device, dtype, policy: see `faltung.nn.Conv`.

    Raises:
        ArgumentError: settings that name no block.

    Cost: of the merged form, for each channel and result: Π kernel_size + 2·expansion·channels.
    Source: Ding et al., UniRepLKNet (2024); Hu et al. (2018) for SE; Woo et al., ConvNeXt V2 (2023) for GRN.

    Example:
        >>> block = LargeKernelBlock(2, 8, 7).eval()
        >>> x = torch.randn(1, 8, 10, 10)
        >>> torch.allclose(block(x), block.deploy()(x), atol=1e-5)
        True
    """

    name = "large-kernel-block"
    summary = "a block of a large-kernel network, with a merged form for inference"
    source = "Ding et al., UniRepLKNet: a universal perception large-kernel ConvNet (2024)"
    cost = "Π kernel_size + 2 · expansion · channels"
    portrait = shown("field photo", (1, 16, 96, 96), ndim=2, channels=16, kernel_size=31, layer_scale=1.0)
    dims = (1, 2, 3, 4)

    def __init__(
        self,
        ndim: int,
        channels: int,
        kernel_size: Any = 13,
        branches: Any = "auto",
        expansion: int = 4,
        squeeze: int | None = 4,
        layer_scale: float | None = 1e-6,
        drop_path: float = 0.0,
        deployed: bool = False,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        (self.ndim,), (self.channels,) = (
            functional.numbers("ndim", ndim, 1, 1),
            functional.numbers("channels", channels, 1, 1),
        )
        (wide,) = functional.numbers("expansion", expansion, 1, 1)
        sizes = functional.numbers("kernel_size", kernel_size, self.ndim, 1)
        if squeeze is not None and not 0 < squeeze <= channels:
            raise ArgumentError.of(
                "squeeze", f"None or a number from 1 to {channels}", repr(squeeze), "use None for no gates"
            )
        large = max(sizes) >= LARGE or branches != "auto"
        chosen = () if deployed or not large else branches
        self.wide, self.hidden, self.deployed = wide * channels, 0 if squeeze is None else channels // squeeze, deployed
        pointwise = {"kernel_size": 1, "policy": policy, **factory}
        self.mix = DilatedReparam(
            ndim, channels, sizes, chosen, norm=large and not deployed, bias=deployed, policy=policy, **factory
        )
        self.norm = None if deployed else AnyBatchNorm(channels, **factory)
        self.down = Conv(ndim, channels, self.hidden, **pointwise) if self.hidden else None
        self.up = Conv(ndim, self.hidden, channels, **pointwise) if self.hidden else None
        self.widen = Conv(ndim, channels, self.wide, **pointwise)
        self.gamma = nn.Parameter(torch.zeros(self.wide, **factory))
        self.register_parameter("beta", None if deployed else nn.Parameter(torch.zeros(self.wide, **factory)))
        self.narrow = Conv(ndim, self.wide, channels, bias=deployed, **pointwise)
        self.last = None if deployed else AnyBatchNorm(channels, **factory)
        self.residual = ScaledResidual(channels, None if deployed else layer_scale, drop_path, factory)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        axes = tuple(range(2, 2 + self.ndim))
        y = self.mix(input)
        y = y if self.norm is None else self.norm(y)
        if self.down is not None and self.up is not None:
            y = y * self.up(self.down(y.mean(axes, keepdim=True)).relu()).sigmoid()
        y = nn.functional.gelu(self.widen(y))
        size = torch.linalg.vector_norm(y, dim=axes, keepdim=True)
        gate = self._column(self.gamma) * (size / (size.mean(1, keepdim=True) + _EPS)) + 1
        y = y * gate if self.beta is None else y * gate + self._column(self.beta)
        y = self.narrow(y)
        return self.residual(input, y if self.last is None else self.last(y))

    def _column(self, values: Tensor) -> Tensor:
        return values.reshape(-1, *[1] * self.ndim)

    @torch.no_grad()
    def deploy(self) -> Self:
        """The merged form: one large convolution with a bias; last norm, layer scale and β in the last pointwise layer.

        This block stays as it is; the new one is in evaluation mode.

        Raises:
            ArgumentError: training mode, in which the statistics of the norms are not final.
        """
        if self.norm is None or self.last is None or self.beta is None:
            return self
        given = {**self._arguments, "deployed": True, "layer_scale": None, "drop_path": 0.0}
        given |= {"device": self.gamma.device, "dtype": self.gamma.dtype}
        mixed = Filter.of(self.mix).normed(self.norm)
        weight, bias = fold_norm(self.narrow.weight, self.narrow.weight.flatten(1) @ self.beta, self.last)
        if self.residual.scale is not None:
            weight, bias = weight * self._column(self.residual.scale)[:, None], bias * self.residual.scale
        made = type(self)(**given)
        values = {
            name: value for name, value in self.state_dict().items() if name in made.state_dict() and not name.startswith("mix")
        }  # fmt: skip
        values |= {
            "mix.weights.0": mixed.weight,
            "mix.biases.0": mixed.bias,
            "narrow.weight": weight,
            "narrow.bias": bias,
        }
        made.load_state_dict(values)
        return made.eval()

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return inputs[0]

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        axes = list(range(2, 2 + self.ndim))

        def normed(y: Tensor, norm: Any) -> Tensor:
            if norm is None:
                return y
            values = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
            mean, var, scale, offset = (self._column(v) for v in values)
            return (y - mean) / (var + norm.eps).sqrt() * scale + offset

        def linear(y: Tensor, layer: Any) -> Tensor:
            return nn.functional.linear(y.movedim(1, -1), layer.weight.flatten(1), layer.bias).movedim(-1, 1)

        u = normed(self.mix.definition(x), self.norm)
        if self.hidden:
            means = u.sum(axes) / math.prod(u.shape[2:])
            gates = torch.sigmoid(linear(torch.relu(linear(means, self.down)), self.up))
            u = torch.einsum("bc...,bc->bc...", u, gates)
        v = linear(u, self.widen)
        v = v * (1 + torch.erf(v / math.sqrt(2))) / 2
        sizes = v.square().sum(axes).sqrt()
        sizes = sizes / (sizes.sum(1, keepdim=True) / self.wide + _EPS)
        v = v + torch.einsum("bc...,bc,c->bc...", v, sizes, self.gamma)
        v = v if self.beta is None else v + self._column(self.beta)
        y = normed(linear(v, self.narrow), self.last)
        return x + (y if self.residual.scale is None else y * self._column(self.residual.scale))

    def parameter_count(self) -> int:
        C, H, W = self.channels, self.hidden, self.wide
        gates = 2 * C * H + H + C if H else 0
        network = C * W + W + W + W * C
        norms = C if self.deployed else 4 * C + W
        scale = 0 if self.residual.scale is None else C
        return self.mix.parameter_count() + gates + network + norms + scale

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 4, "kernel_size": 7, "squeeze": 2}, ((2, 4, 6),))
        yield Example({"ndim": 2, "channels": 2, "kernel_size": 3, "expansion": 2, "squeeze": None}, ((2, 2, 3, 4),))
        yield Example(
            {"ndim": 2, "channels": 2, "kernel_size": 5, "branches": ((3, 2),), "layer_scale": None, "squeeze": 2, "expansion": 1},
            ((2, 2, 4, 3),),
        )  # fmt: skip
        yield Example({"ndim": 3, "channels": 4, "kernel_size": 3, "deployed": True}, ((1, 4, 2, 2, 2),))
        yield Example({"ndim": 4, "channels": 2, "kernel_size": 3, "squeeze": 1, "expansion": 1}, ((2, 2, 2, 1, 2, 2),))
