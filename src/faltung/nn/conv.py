"""The layers `Conv` and `ConvTranspose`: one class each for all dimensions, parameters named and shaped as in torch."""

import math
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.planner import Policy

_TORCH = {
    (False, 1): nn.Conv1d, (False, 2): nn.Conv2d, (False, 3): nn.Conv3d,
    (True, 1): nn.ConvTranspose1d, (True, 2): nn.ConvTranspose2d, (True, 3): nn.ConvTranspose3d,
}  # fmt: skip


class _Layer(nn.Module):
    """What both layers share: checked settings, torch's parameters and initial values, the way from and to torch's layers."""

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    source: ClassVar[str] = ""
    transposed: ClassVar[bool] = False

    ndim: int
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str
    policy: Policy | None
    bias: nn.Parameter | None

    def _build(
        self, ndim: Any, channels: tuple[Any, Any], bias: bool, factory: dict[str, Any], **settings: Any
    ) -> None:
        """Check everything that does not need an input, and make the parameters."""
        who = type(self).__name__
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        ((self.in_channels, self.out_channels), (self.groups,)) = (
            functional.numbers("in_channels, out_channels", channels, 2, 1),
            functional.numbers("groups", settings["groups"], 1, 1),
        )
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ArgumentError.of(
                who, f"in and out channels that {self.groups} groups divide", f"{self.in_channels} and {self.out_channels}",
                "choose groups that divide both",
            )  # fmt: skip
        for name, least in (("kernel_size", 1), ("stride", 1), ("dilation", 1), ("output_padding", 0)):
            setattr(self, name, functional.numbers(name, settings[name], self.ndim, least))
        padding, self.padding_mode, self.policy = settings["padding"], settings["padding_mode"], settings["policy"]
        functional.margins(padding, self.stride, self.dilation, self.kernel_size)
        self.padding = padding if isinstance(padding, str) else functional.numbers("padding", padding, self.ndim, 0)
        if self.padding_mode not in functional.BOUNDARY:
            words = ", ".join(functional.BOUNDARY)
            raise ArgumentError.of("padding_mode", f"one of {words}", repr(self.padding_mode), "choose one of these")
        first, second = (
            (self.in_channels, self.out_channels) if self.transposed else (self.out_channels, self.in_channels)
        )
        self.weight = nn.Parameter(torch.empty((first, second // self.groups, *self.kernel_size), **factory))
        self.register_parameter("bias", nn.Parameter(torch.empty(self.out_channels, **factory)) if bias else None)
        self.reset_parameters()

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

    def extra_repr(self) -> str:
        settings = self._settings()
        if self.weight.dtype != torch.float32:
            settings["dtype"] = self.weight.dtype
        words = [f"{name}={value!r}" for name, value in settings.items()]
        return ", ".join([str(self.ndim), str(self.in_channels), str(self.out_channels), *words])

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

    def to_torch(self) -> nn.Module:
        """torch's layer in place of this one, with the very same parameters (not copies).

        Raises:
            ArgumentError: torch has no such layer (four and more dimensions, symmetric margins, padded transposes).
        """
        known = {"zeros"} if self.transposed else {"zeros", "reflect", "replicate", "circular"}
        if (self.transposed, self.ndim) not in _TORCH or self.padding_mode not in known:
            raise ArgumentError.of(
                "to_torch", f"one to three dimensions and padding_mode among {', '.join(sorted(known))}",
                f"{self.ndim} dimensions and {self.padding_mode!r}", "keep this layer; torch has none like it",
            )  # fmt: skip
        settings = self._settings()
        settings.pop("policy", None)
        made = _TORCH[self.transposed, self.ndim](self.in_channels, self.out_channels, device="meta", **settings)
        made.weight, made.bias = self.weight, self.bias
        return made.train(self.training)


class Conv(_Layer):
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
        self._build(
            ndim, (in_channels, out_channels), bias, {"device": device, "dtype": dtype}, kernel_size=kernel_size, stride=stride,
            padding=padding, output_padding=0, dilation=dilation, groups=groups, padding_mode=padding_mode, policy=policy,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        return functional.conv(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups, self.padding_mode, self.policy
        )  # fmt: skip


class ConvTranspose(_Layer):
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
        self._build(
            ndim, (in_channels, out_channels), bias, {"device": device, "dtype": dtype}, kernel_size=kernel_size, stride=stride,
            padding=padding, output_padding=output_padding, dilation=dilation, groups=groups, padding_mode=padding_mode,
            policy=policy,
        )  # fmt: skip

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        return functional.conv_transpose(
            input, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation,
            self.padding_mode, self.policy, output_size,
        )  # fmt: skip
