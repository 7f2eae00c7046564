"""The layers `Conv` and `ConvTranspose`: one class each for all dimensions, parameters named and shaped as in torch."""

import copy
import math
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, ConvLayer, Example, Symmetry, shown
from faltung.nn.exchange import grouped
from faltung.nn.functional.definition import conv_by_taps
from faltung.planner import Policy

_TORCH = {
    (False, 1): nn.Conv1d, (False, 2): nn.Conv2d, (False, 3): nn.Conv3d,
    (True, 1): nn.ConvTranspose1d, (True, 2): nn.ConvTranspose2d, (True, 3): nn.ConvTranspose3d,
}  # fmt: skip
_MODES = {True: {"zeros"}, False: {"zeros", "reflect", "replicate", "circular"}}


class _Plain(ConvLayer):
    """What both layers share: torch's parameters and initial values, the way from and to torch's layers."""

    transposed: ClassVar[bool] = False

    output_padding: tuple[int, ...]

    def _build(self, bias: bool, factory: dict[str, Any], output_padding: Any) -> None:
        """Make the parameters."""
        self.output_padding = functional.numbers("output_padding", output_padding, self.ndim, 0)
        self.weight = nn.Parameter(torch.empty(self.weight_shape, **factory))
        self.register_parameter("bias", nn.Parameter(torch.empty(self.out_channels, **factory)) if bias else None)
        self.reset_parameters()

    @property
    def weight_shape(self) -> tuple[int, ...]:
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        return (first, second // self.groups, *self.kernel_size)

    def kernel(self) -> Tensor:
        return self.weight

    def definition_kernel(self) -> Tensor:
        return self.weight

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """The kernel itself."""
        self.weight.copy_(kernel if self.transposed else grouped(kernel, self))
        self.take_bias(bias)
        return self

    def parameter_count(self) -> int:
        return math.prod(self.weight_shape) + (0 if self.bias is None else self.out_channels)

    def reset_parameters(self) -> None:
        """Draw parameters from torch's distribution, with the same numbers for the same seed: uniform within 1/√fan_in."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def _settings(self) -> dict[str, Any]:
        """The arguments after the channels that differ from their defaults."""
        usual = {
            "stride": (1,) * self.ndim, "padding": (0,) * self.ndim, "output_padding": (0,) * self.ndim,
            "dilation": (1,) * self.ndim, "groups": 1, "padding_mode": "zeros", "policy": None,
        }  # fmt: skip
        found = {"kernel_size": self.kernel_size}
        found |= {name: getattr(self, name) for name, value in usual.items() if getattr(self, name) != value}
        return found | ({} if self.bias is not None else {"bias": False})

    def __repr__(self) -> str:
        settings = self._settings()
        if self.weight.dtype != torch.float32:
            settings["dtype"] = self.weight.dtype
        words = [f"{name}={value!r}" for name, value in settings.items()]
        return f"{type(self).__name__}({', '.join([str(self.ndim), str(self.in_channels), str(self.out_channels), *words])})"

    @classmethod
    def from_torch(cls, layer: nn.Module, policy: Policy | None = None) -> Self:
        """This layer in place of torch's one, with the very same parameters (not copies).

        Raises:
            DtypeError: the layer is none of torch's convolutions of this kind.

        Example:
            >>> Conv.from_torch(nn.Conv2d(3, 8, 5, padding=2))
            Conv(2, 3, 8, kernel_size=(5, 5), padding=(2, 2))
        """
        kinds = [kind for (transposed, _), kind in _TORCH.items() if transposed == cls.transposed]
        if type(layer) not in kinds:
            raise DtypeError.of(
                f"{cls.__name__}.from_torch", f"one of {', '.join(k.__name__ for k in kinds)}", type(layer).__name__,
                "pass a plain convolution layer",
            )  # fmt: skip
        names = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
        settings = {name: getattr(layer, name) for name in names}
        if cls.transposed:
            settings["output_padding"] = layer.output_padding
        ndim = layer.weight.ndim - 2
        made = cls(  # on the meta device: nothing is drawn, the parameters come from the layer
            ndim, layer.in_channels, layer.out_channels, bias=layer.bias is not None, device="meta", policy=policy, **settings
        )  # fmt: skip
        made.weight, made.bias = layer.weight, layer.bias
        return made.train(layer.training)

    def has_torch(self) -> bool:
        """Whether torch has such a layer."""
        return (self.transposed, self.ndim) in _TORCH and self.padding_mode in _MODES[self.transposed]

    def to_torch(self) -> nn.Module:
        """torch's layer in place of this one, with the very same parameters (not copies).

        Raises:
            ArgumentError: torch has no such layer (four and more dimensions, symmetric margins, padded transposes).
        """
        if not self.has_torch():
            known = _MODES[self.transposed]
            raise ArgumentError.of(
                "to_torch", f"one to three dimensions and padding_mode among {', '.join(sorted(known))}",
                f"{self.ndim} dimensions and {self.padding_mode!r}", "keep this layer; torch has none like it",
            )  # fmt: skip
        settings = self._settings()
        settings.pop("policy", None)
        made = _TORCH[self.transposed, self.ndim](self.in_channels, self.out_channels, device="meta", **settings)
        made.weight, made.bias = self.weight, self.bias
        return made.train(self.training)


class Conv(_Plain):
    """A convolution layer in any number of dimensions: torch's Conv1d, Conv2d, Conv3d and their continuation.

    Formula: see `faltung.nn.functional.conv`.

    Shapes: input (batch, in, *n) or (in, *n), returns (batch, out, *m) or (out, *m); weight (out, in / groups, *kernel_size) and
    bias (out), so state dicts are interchangeable with torch's.

    Args:
        ndim: number of spatial axes, at least 1.   in_channels, out_channels: at least 1, multiples of groups.
        kernel_size: taps, one number for all spatial axes or one for each.
        stride, padding, dilation, groups, padding_mode, policy: see `faltung.nn.functional.conv`.
        bias: whether a learnt constant is added to each output channel. Default True.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer.

    Example:
        >>> Conv(4, 1, 2, 3, padding="same")(torch.zeros(1, 1, 5, 5, 5, 5)).shape
        torch.Size([1, 2, 5, 5, 5, 5])
    """

    name = "conv"
    summary = "a convolution layer in any number of dimensions"
    cost = "in / groups · Π kernel_size"
    portrait = shown("kernels photo", (1, 1, 96, 96), ndim=2, in_channels=1, out_channels=3, kernel_size=7, padding=3)
    source = "LeCun et al., Backpropagation applied to handwritten zip code recognition (1989)"

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, policy
        )
        self._build(bias, {"device": device, "dtype": dtype}, 0)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example(
            {"ndim": 1, "in_channels": 2, "out_channels": 3, "kernel_size": 3, "stride": 2, "padding": 1}, ((2, 2, 7),)
        )
        common = {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "padding": "same"}
        yield Example({"ndim": 2, **common, "groups": 2, "dilation": 2, "padding_mode": "reflect"}, ((2, 2, 5, 4),))
        yield Example({"ndim": 3, **common, "kernel_size": (1, 2, 3), "padding_mode": "circular"}, ((1, 2, 3, 3, 4),))
        yield Example(
            {"ndim": 4, **common, "kernel_size": 2, "bias": False, "padding_mode": "symmetric"}, ((1, 2, 2, 3, 2, 3),)
        )


class ConvTranspose(_Plain):
    """The transpose of `Conv`: torch's ConvTranspose1d, 2d, 3d and their continuation, with every padding mode.

    Formula: see `faltung.nn.functional.conv_transpose`.

    Shapes: input (batch, in, *m) or (in, *m), returns (batch, out, *n) or (out, *n); weight (in, out / groups, *kernel_size) and
    bias (out), so state dicts are interchangeable with torch's.

    Args:
        output_padding: see `faltung.nn.functional.conv_transpose`.   All others: as for `Conv`.

    Raises:
        ArgumentError: settings that name no layer.

    Example:
        >>> ConvTranspose(1, 4, 2, 3, stride=2, padding=1)(torch.zeros(1, 4, 5), output_size=[10]).shape
        torch.Size([1, 2, 10])
    """

    name = "conv-transpose"
    summary = "the transpose of a convolution layer in any number of dimensions, with every padding mode"
    cost = "in / groups · Π kernel_size for each sample of the input"
    portrait = shown(
        "impulses", (1, 1, 24, 24), ndim=2, in_channels=1, out_channels=1, kernel_size=6, stride=2, padding=2
    )
    source = "Zeiler et al., Deconvolutional networks (2010)"
    transposed = True

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, policy
        )
        self._build(bias, {"device": device, "dtype": dtype}, output_padding)

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        return functional.conv_transpose(
            input, self.kernel(), self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation,
            self.padding_mode, self.policy, output_size,
        )  # fmt: skip

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        extra = zip(
            inputs[0][-self.ndim :], self.pads, self.dilation, self.kernel_size, self.stride, self.output_padding, strict=True
        )  # fmt: skip
        sizes = ((m - 1) * s - lo - hi + d * (t - 1) + more + 1 for m, (lo, hi), d, t, s, more in extra)
        return (*inputs[0][: -self.ndim - 1], self.out_channels, *sizes)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def symmetries(self) -> Iterable[Symmetry]:
        """None: with a stride the margins of a circular transpose fold over a lattice that the result need not fill."""
        return ()

    def definition(self, *inputs: Any) -> Tensor:
        """The transpose of the convolution's matrix, by automatic differentiation of the definition of the convolution."""
        (y,) = inputs
        size = (y.shape[0], self.out_channels, *self.shapes(y.shape)[2:])
        pads = tuple(
            (lo, hi - more // s * s)
            for (lo, hi), more, s in zip(self.pads, self.output_padding, self.stride, strict=True)
        )

        kernel = self.definition_kernel()

        def forward(x: Tensor) -> Tensor:
            return conv_by_taps(x, kernel, None, self.stride, pads, self.dilation, self.groups, self.padding_mode)

        (x,) = torch.func.vjp(forward, y.new_zeros(size))[1](y)
        return x if self.bias is None else x + self.bias.reshape(-1, *[1] * self.ndim)

    def freeze(self) -> nn.Module:
        """A copy as torch's layer where there is one, else as it is."""
        made = copy.deepcopy(self)
        return made.to_torch() if made.has_torch() else made

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 4, "out_channels": 2, "kernel_size": 3}
        yield Example({"ndim": 1, **common, "stride": 3, "padding": 1, "output_padding": 1}, ((2, 4, 4),))
        yield Example({"ndim": 2, **common, "stride": 2, "groups": 2, "bias": False}, ((2, 4, 3, 2),))
        yield Example(
            {"ndim": 3, **common, "kernel_size": 2, "padding": 1, "padding_mode": "circular"}, ((1, 4, 2, 3, 3),)
        )
