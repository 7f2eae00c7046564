"""What every layer says of itself, and what follows from it for all layers alike.

A layer states its name and paper, its examples, its shapes, its number of parameters, its definition in plain torch, and what it
claims (`linear`, `shift-invariant`, ...) and keeps (its symmetries, a bound on its gain). `faltung.testing.layers` checks all of
that on every layer of `faltung.nn.ALL`, so that a new layer is tested without a line of test code.
"""

import inspect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.moves import Roll
from faltung.nn.moves import Symmetry as Symmetry
from faltung.nn.moves import rolled as rolled
from faltung.planner import Policy

LINEAR, PER_SAMPLE, SHIFT_INVARIANT = "linear", "per-sample", "shift-invariant"


@dataclass(frozen=True)
class Example:
    """One instance of a layer for suites and tables: its constructor's arguments, and the shapes of what it is called with.

    Shapes start with the batch. A list among them stands for an argument that is a list of tensors. Examples are small: finite
    differences are taken of each, unless `tiny` says that this one is too large for that. `complex` makes the inputs so.
    `shows` is for portraits: what their picture shows, in words of `docs/portraits.py`.
    """

    arguments: dict[str, Any]
    inputs: tuple[Any, ...]
    tiny: bool = True
    complex: bool = False
    shows: tuple[str, ...] = ()


def shown(shows: str, *inputs: Any, complex: bool = False, **arguments: Any) -> Example:
    """An example for pictures: what is shown (words), the shapes of the inputs, and the constructor's arguments."""
    return Example(arguments, inputs, tiny=False, complex=complex, shows=tuple(shows.split()))


class Layer(nn.Module):
    """The base of every layer: it remembers its constructor's arguments, so that `repr` rebuilds it."""

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    source: ClassVar[str] = ""
    dims: ClassVar[tuple[int, ...]] = ()
    """The dimensions for which there is a short name: `Conv2d` is `Conv` with ndim=2. Empty where there is no argument ndim."""
    cost: ClassVar[str] = ""
    """Multiplications for each sample of the result, in words of the constructor's arguments."""
    eager_only: ClassVar[str] = ""
    """Why no graph can be traced (values decide shapes, say); such a layer is not compiled, exported or run on meta tensors."""

    portrait: ClassVar[Example | None] = None
    """An instance of realistic size for pictures; it is no part of the suite. None where a picture says nothing."""

    neutral: ClassVar[Tensor] = torch.empty(0)
    """A tensor of the kind of numbers that the layer takes, for those without parameters."""

    _arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls)
        try:
            bound = inspect.signature(cls.__init__).bind(made, *args, **kwargs).arguments
        except TypeError:  # copies are made without arguments; wrong calls are the constructor's to refuse
            return made
        object.__setattr__(made, "_arguments", dict(list(bound.items())[1:]))
        return made

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(_words(self))})"

    @classmethod
    def examples(cls) -> Iterable[Example]:
        """Instances that together show every variant."""
        raise ArgumentError.of(cls.__name__, "examples()", "none", "yield Example(arguments, shapes) for every variant")

    @property
    def claims(self) -> frozenset[str]:
        """Words of `faltung.testing.layers.CLAIMS` that hold for this instance; each is checked."""
        return frozenset({PER_SAMPLE})

    def shapes(self, *inputs: Any) -> Any:
        """The result's shape for inputs of these shapes, or a tuple of shapes for a layer with several results."""
        raise ArgumentError.of(type(self).__name__, "shapes()", "none", "say what shape comes out")

    def definition(self, *inputs: Any) -> Any:
        """The result by the formula, in plain torch, slow: what the layer is held against."""
        raise ArgumentError.of(type(self).__name__, "definition()", "none", "write the formula down")

    def parameter_count(self) -> int:
        """How many numbers are learnt, by formula."""
        raise ArgumentError.of(type(self).__name__, "parameter_count()", "none", "give the formula")

    def expect(self, input: Any, channels: int | None, ndim: int | None, batch: bool = True) -> None:
        """Refuse anything but a floating tensor (batch, channels, *n) with that many channels and spatial axes.

        Raises:
            DtypeError: not a tensor, or one of integers.   ArgumentError: another number of axes or channels.
        """
        who = type(self).__name__
        if not isinstance(input, Tensor) or not (input.is_floating_point() or input.is_complex()):
            came = f"a tensor of {input.dtype}" if isinstance(input, Tensor) else type(input).__name__
            raise DtypeError.of(who, "a tensor of real or complex numbers", came, "convert it with .float()")
        axes = "" if ndim is None else f"{ndim} spatial axes"
        if ndim is not None and input.ndim != ndim + 2 and (batch or input.ndim != ndim + 1):
            raise ArgumentError.of(
                who, f"an input (batch, channels, *n) with {axes}", f"shape {tuple(input.shape)}", "add or remove axes of the input"
            )  # fmt: skip
        axis = 1 if ndim is None else input.ndim - ndim - 1
        if channels is not None and (input.ndim < 2 or input.shape[axis] != channels):
            raise ArgumentError.of(
                who, f"an input (batch, {channels}, *n)", f"shape {tuple(input.shape)}", f"give it {channels} channels"
            )  # fmt: skip

    def symmetries(self) -> Iterable[Symmetry]:
        """What the layer is equivariant to: elements that stand for all others."""
        return ()

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        """Elements at random of what the layer is equivariant to, where there are more than `symmetries` lists: all rolls."""
        return (one.drawn(random) for one in self.symmetries() if isinstance(one, Roll))

    def gain(self) -> float | None:
        """A number that ‖layer(x) − layer(z)‖₂ / ‖x − z‖₂ never exceeds in evaluation mode, where one is known."""
        return None

    @torch.no_grad()
    def effective_matrix(self, size: Any) -> Tensor:
        """The matrix of a linear layer (results, inputs) for one sample of that shape (channels, *sizes), by unit impulses.

        Raises:
            ArgumentError: the layer does not claim to be linear.
        """
        if LINEAR not in self.claims:
            raise ArgumentError.of(
                f"{type(self).__name__}.effective_matrix", "a linear layer", "one that is not", "take torch.func.jacrev at a point"
            )  # fmt: skip
        count = math.prod(size)
        one = next((p for p in self.parameters() if p.is_floating_point() or p.is_complex()), self.neutral)
        units = torch.eye(count, dtype=one.dtype, device=one.device).reshape(count, *size)
        return (self(units) - self(torch.zeros_like(units[:1]))).reshape(count, -1).T


class ConvLayer(Layer):
    """A linear shift-invariant layer: torch's settings of a convolution, and a kernel that `kernel()` makes from parameters.

    A subclass calls `settle` in its constructor, makes its parameters (`bias` too, or None) and writes `kernel`. What is left
    follows: the call, the shapes, the effective kernel, the frozen layer. `definition_kernel` writes the kernel's formula down
    once more without the shortcuts of `kernel`; the suite compares them.
    """

    dims: ClassVar[tuple[int, ...]] = (1, 2, 3, 4)

    ndim: int
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str
    policy: Policy | None
    bias: Any

    def settle(
        self,
        ndim: Any,
        in_channels: Any,
        out_channels: Any,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: Any = 1,
        padding_mode: str = "zeros",
        policy: Policy | None = None,
    ) -> None:
        """Check the settings of a convolution and keep them, one number for each spatial axis.

        Raises:
            ArgumentError: settings that name no layer.
        """
        who = type(self).__name__
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        self.in_channels, self.out_channels = functional.numbers(
            "in_channels, out_channels", (in_channels, out_channels), 2, 1
        )
        (self.groups,) = functional.numbers("groups", groups, 1, 1)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ArgumentError.of(
                who, f"in and out channels that {self.groups} groups divide", f"{self.in_channels} and {self.out_channels}",
                "choose groups that divide both",
            )  # fmt: skip
        for name, given in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation)):
            setattr(self, name, functional.numbers(name, given, self.ndim, 1))
        functional.margins(padding, self.stride, self.dilation, self.kernel_size)
        self.padding = padding if isinstance(padding, str) else functional.numbers("padding", padding, self.ndim, 0)
        if padding_mode not in functional.BOUNDARY:
            words = ", ".join(functional.BOUNDARY)
            raise ArgumentError.of("padding_mode", f"one of {words}", repr(padding_mode), "choose one of these")
        self.padding_mode, self.policy = padding_mode, policy

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of the kernel: (out, in / groups, *kernel_size)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """The (lo, hi) margins of every spatial axis."""
        return functional.margins(self.padding, self.stride, self.dilation, self.kernel_size)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE, SHIFT_INVARIANT})

    def kernel(self) -> Tensor:
        """The kernel (out, in / groups, *kernel_size) that the parameters make, differentiable."""
        raise ArgumentError.of(type(self).__name__, "kernel()", "none", "make the kernel from the parameters")

    def definition_kernel(self) -> Tensor:
        """The same by its formula, in plain torch."""
        raise ArgumentError.of(type(self).__name__, "definition_kernel()", "none", "write the formula down")

    def forward(self, input: Tensor) -> Tensor:
        return functional.conv(
            input, self.kernel(), self.bias, self.stride, self.padding, self.dilation, self.groups, self.padding_mode, self.policy
        )  # fmt: skip

    def definition(self, *inputs: Any) -> Tensor:
        return conv_by_taps(
            inputs[0], self.definition_kernel(), self.bias, self.stride, self.pads, self.dilation, self.groups, self.padding_mode
        )  # fmt: skip

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        sizes = zip(inputs[0][-self.ndim :], self.pads, self.dilation, self.kernel_size, self.stride, strict=True)
        return (
            *inputs[0][: -self.ndim - 1],
            self.out_channels,
            *((n + lo + hi - d * (t - 1) - 1) // s + 1 for n, (lo, hi), d, t, s in sizes),
        )

    def symmetries(self) -> Iterable[Symmetry]:
        whole = all(
            lo + hi == d * (t - 1) for (lo, hi), d, t in zip(self.pads, self.dilation, self.kernel_size, strict=True)
        )
        if self.padding_mode == "circular" and whole and len(set(self.stride)) == 1:
            yield rolled(self.stride[0], self.ndim, self.stride[0])

    def effective_kernel(self) -> Tensor:
        """The kernel of the plain convolution that this layer is, (out, in / groups, *kernel_size)."""
        return self.kernel()

    def effective_bias(self) -> Tensor | None:
        """The bias of the plain convolution that this layer is, (out), or None."""
        return self.bias

    @classmethod
    def from_conv(cls, conv: Any, *arguments: Any, **settings: Any) -> Self:
        """A layer of this class in the place of a plain convolution, with its kernel as far as the class can hold it.

        This is the protocol that `faltung.swap` follows. The layer takes the settings of the convolution that its constructor
        knows, those given here in their place, and then the kernel, by `take`. A class for which settings and kernel are not all
        (a size of the input, say) writes a `from_conv` of its own.

        Args:
            conv: a `faltung.nn.Conv` or torch's Conv1d, 2d or 3d; left alone.   settings: arguments of the constructor.

        Returns:
            The layer, in the mode of the convolution.

        Raises:
            ArgumentError: settings that do not fit the class, or a class without `take`.

        Example:
            >>> from faltung.nn import Conv2d, SeparableConv
            >>> SeparableConv.from_conv(Conv2d(4, 8, 3, padding=1), multiplier=8)
            SeparableConv(2, 4, 8, 3, padding=1, multiplier=8)
        """
        from faltung.nn.conv import Conv  # both know the base
        from faltung.nn.exchange import in_place_of, is_convolution, laid

        plain = conv if isinstance(conv, Conv) else Conv.from_torch(conv)
        layer = in_place_of(cls, plain, settings)
        if not is_convolution(layer):
            raise ArgumentError.of(
                f"{cls.__name__}.from_conv",
                "a class that is one convolution",
                "one that is not",
                "build the layer itself",
            )
        if not plain.weight.is_meta:
            layer.take(laid(plain, layer), plain.bias)
        return layer.train(plain.training)

    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """Set the parameters, without a search, so that the effective kernel comes as close to this one as the class allows.

        Classes that can, write it: what is "as close" is in their docstring. For all others `faltung.tools.fit` searches.

        Shapes: kernel like `effective_kernel()`, or (out, in, *t), whose part within groups counts; bias (out), None for 0.

        Returns:
            The layer.

        Raises:
            ArgumentError: a class that has no closed form, or a kernel of another shape.
        """
        raise ArgumentError.of(
            f"{type(self).__name__}.take", "a class with a closed form", "none", "call faltung.tools.fit(layer, kernel, bias)"
        )  # fmt: skip

    @torch.no_grad()
    def take_bias(self, bias: Tensor | None) -> None:
        """Set the parameter `bias`, where there is one, to these numbers, or to zeros for None."""
        if self.bias is not None:
            self.bias.copy_(torch.zeros_like(self.bias) if bias is None else bias)

    def freeze(self) -> nn.Module:
        """The plain layer with this one's effective kernel and bias: torch's own where there is one, else `faltung.nn.Conv`."""
        from faltung.nn.conv import Conv  # Conv is a ConvLayer itself

        bias = self.effective_bias()
        made = Conv(
            self.ndim, self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding, self.dilation, self.groups,
            bias is not None, self.padding_mode, device="meta", policy=self.policy,
        )  # fmt: skip
        made.weight = nn.Parameter(self.effective_kernel().detach().clone())
        made.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        made.train(self.training)
        return made.to_torch() if made.has_torch() else made


def uniform_bias(size: int, fan_in: int, factory: dict[str, Any]) -> nn.Parameter:
    """A bias drawn as torch's layers draw it: uniform within 1/√fan_in."""
    bound = 1 / math.sqrt(max(fan_in, 1))
    return nn.Parameter(nn.init.uniform_(torch.empty(size, **factory), -bound, bound))


def _words(layer: Layer) -> Iterable[str]:
    """The constructor's arguments as they would be written, those without a default by position, others where they differ."""
    signature = inspect.signature(type(layer).__init__).parameters
    given = dict(layer._arguments)
    numbers = (*layer.parameters(), *layer.buffers())
    tensor = next((t for t in numbers if t.is_floating_point() or t.is_complex()), None)
    if "dtype" in signature:
        given.pop("dtype", None)
        usual = signature["dtype"].default
        if tensor is not None and tensor.dtype != torch.float32:
            lifted = (
                isinstance(usual, torch.dtype) and usual.is_complex
            )  # the dtype means the numbers, real parameters too
            given["dtype"] = tensor.dtype.to_complex() if lifted else tensor.dtype
    given.pop("device", None)
    for name, value in given.items():
        usual = signature[name].default
        if signature[name].kind is inspect.Parameter.VAR_KEYWORD:
            yield from (f"{key}={_word(part)}" for key, part in value.items())
        elif usual is inspect.Parameter.empty:
            yield _word(value)
        elif isinstance(value, Tensor) or not (value is usual or value == usual):
            yield f"{name}={_word(value)}"


def _word(value: Any) -> str:
    """A value as it would be written."""
    return repr(value.tolist()) if isinstance(value, Tensor) else repr(value)
