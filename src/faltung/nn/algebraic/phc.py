"""Hypercomplex layers: kernels that are sums of Kronecker products of an algebra's matrices with filters."""

from collections.abc import Iterable
from typing import Any, Self

from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.algebraic.hypercomplex import Hypercomplex
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, Symmetry, shown
from faltung.nn.conv import ConvTranspose
from faltung.planner import Policy


class PHConv(Hypercomplex):
    """A convolution whose kernel obeys an algebra: components of channels meet as the numbers of that algebra multiply.

    Formula: `H = Σ over i of A_i ⊗ F_i`, that is `H[p·Co/n + r, q·Ci/n + s] = Σ_i A_i[p, q]·F_i[r, s]`; y = conv(x, H) + b. Each
    group of channels has n components of its own.

    Shapes: input (batch, in, *n) or (in, *n), returns (batch, out, *m) or (out, *m); rule A (n, n, n), filters F
    (n, out / n, in / (groups·n), *kernel_size), bias (out).

    Args:
        ndim: number of spatial axes, 1 to 4.   n: components, at least 1, a divisor of in / groups and out / groups.
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype, policy: see
            `faltung.nn.Conv`.
        algebra: `learned` (the rule is a parameter), `real`, `complex`, `quaternion`, `octonion`, `cyclic`, `dyadic`, `Cl(p,q)`, or
            a tensor (n, n, n) whose matrix [i] multiplies by the unit i from the left. Default learned.
        method: `dense` makes the kernel in every call, `products` uses the algebra's bilinear algorithm of R products in place of
            n², `auto` what the planner expects to be faster. Call `freeze` for a layer whose kernel is made once. Default auto.

    Raises:
        ArgumentError: settings that name no layer, or an algebra that has not n components.

    Error: that of the convolution; by products, sums of components cancel, which costs about a factor R / n.
    Source: the paper below; products of twisted group algebras by Hadamard transforms after Cariow and Cariowa (2012).

    Example:
        >>> PHConv(2, 4, 8, 16, 3, algebra="quaternion", bias=False).parameter_count()
        288
    """

    name = "hypercomplex-conv"
    summary = "a convolution whose kernel is a sum of Kronecker products: the rule of an algebra, learnt or known, times filters"
    cost = "in / groups · Π kernel_size, or R / n² of that for an algebra with an algorithm of R products"
    portrait = shown(
        "smooth bank", (1, 4, 96, 96), ndim=2, n=4, in_channels=4, out_channels=4, kernel_size=11, algebra="quaternion"
    )

    def __init__(
        self,
        ndim: int,
        n: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        algebra: Any = "learned",
        method: str = "auto",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, policy
        )
        self._build(n, algebra, method, bias, {"device": device, "dtype": dtype})

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"n": 2, "in_channels": 4, "out_channels": 4, "kernel_size": 3}
        yield Example({"ndim": 1, **common, "stride": 2, "padding": 1}, ((2, 4, 7),))
        settings = {
            "groups": 2,
            "padding": "same",
            "padding_mode": "circular",
            "algebra": "complex",
            "method": "products",
        }
        yield Example({"ndim": 2, **common, **settings}, ((2, 4, 4, 5),))
        settings = {
            "n": 4,
            "out_channels": 8,
            "bias": False,
            "dilation": 2,
            "algebra": "quaternion",
            "method": "products",
        }
        yield Example({"ndim": 2, **common, **settings}, ((1, 4, 5, 5),))
        given = {"n": 2, "algebra": [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 0.0]]]}  # dual numbers
        yield Example({"ndim": 3, **common, "kernel_size": (1, 2, 2), **given}, ((1, 4, 2, 3, 3),))
        cyclic = {"n": 3, "in_channels": 3, "out_channels": 6, "algebra": "cyclic", "method": "products", "bias": False}
        yield Example({"ndim": 1, **common, **cyclic}, ((2, 3, 5),), complex=True)
        yield Example(
            {"ndim": 4, **common, "kernel_size": 2, "padding_mode": "symmetric", "padding": 1}, ((1, 4, 2, 2, 1, 2),)
        )


class PHConvTranspose(Hypercomplex):
    """The transposed convolution whose kernel obeys an algebra, which multiplies from the left here too.

    Formula: `H = Σ over i of A_iᵀ ⊗ F_i` in torch's order (in, out / groups, *kernel_size), so that the component p of the result
    is `Σ over i, q of A_i[p, q]·conv_transpose(x_q, F_i)`.

    Shapes: input (batch, in, *m) or (in, *m), returns (batch, out, *n) or (out, *n); rule A (n, n, n), filters F
    (n, in / n, out / (groups·n), *kernel_size), bias (out).

    Args, Raises: see `PHConv` and `faltung.nn.ConvTranspose`.

    Example:
        >>> PHConvTranspose(1, 2, 4, 6, 2, stride=2, algebra="complex")(torch.zeros(1, 4, 5)).shape
        torch.Size([1, 6, 10])
    """

    name = "hypercomplex-conv-transpose"
    summary = "the transposed convolution whose kernel is a sum of Kronecker products of an algebra's rule with filters"
    cost = "in / groups · Π kernel_size for each sample of the input, or R / n² of that"
    portrait = shown(
        "smooth bank", (1, 4, 48, 48), ndim=2, n=2, in_channels=4, out_channels=4, kernel_size=11, algebra="complex"
    )
    transposed = True

    output_padding: tuple[int, ...]

    def __init__(
        self,
        ndim: int,
        n: int,
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
        algebra: Any = "learned",
        method: str = "auto",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, policy
        )
        self.output_padding = functional.numbers("output_padding", output_padding, self.ndim, 0)
        self._build(n, algebra, method, bias, {"device": device, "dtype": dtype})

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)

    def _options(self) -> tuple[Any, ...]:
        return *super()._options(), self.output_padding, None

    def _apply_kernel(self, input: Tensor, kernel: Tensor, groups: int) -> Tensor:
        return functional.conv_transpose(
            input, kernel, None, self.stride, self.padding, self.output_padding, groups, self.dilation, self.padding_mode,
            self.policy,
        )  # fmt: skip

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def symmetries(self) -> Iterable[Symmetry]:
        return ()

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return ConvTranspose.shapes(self, *inputs)

    def definition(self, *inputs: Any) -> Tensor:
        return ConvTranspose.definition(self, *inputs)

    def freeze(self) -> nn.Module:
        """torch's transposed layer with this one's kernel where there is one, else `faltung.nn.ConvTranspose`."""
        made = ConvTranspose(
            self.ndim, self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding, self.output_padding,
            self.groups, self.bias is not None, self.dilation, self.padding_mode, device="meta", policy=self.policy,
        )  # fmt: skip
        made.weight = nn.Parameter(self.kernel().detach().clone())
        made.bias = None if self.bias is None else nn.Parameter(self.bias.detach().clone())
        made.train(self.training)
        return made.to_torch() if made.has_torch() else made

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"n": 2, "in_channels": 4, "out_channels": 4, "kernel_size": 3}
        yield Example({"ndim": 1, **common, "stride": 2, "padding": 1, "output_padding": 1}, ((2, 4, 4),))
        settings = {"groups": 2, "algebra": "complex", "method": "products", "bias": False}
        yield Example({"ndim": 2, **common, **settings, "stride": 2}, ((2, 4, 3, 2),))
        yield Example(
            {"ndim": 2, **common, "n": 4, "algebra": "quaternion", "padding_mode": "circular", "padding": 1},
            ((1, 4, 3, 3),),
        )


class PHLinear(Layer):
    """A linear map whose matrix obeys an algebra; features are along the last axis, as in torch.

    Formula: `y = x Hᵀ + b` with `H = Σ over i of A_i ⊗ F_i`.

    Shapes: input (*, in), returns (*, out); rule A (n, n, n), filters F (n, out / n, in / n), bias (out).

    Args:
        n: components, a divisor of both.   in_features, out_features: at least 1.   bias, device, dtype: as in torch.
        algebra: see `PHConv`.

    Raises:
        ArgumentError: settings that name no layer, or another number of features.

    Example:
        >>> PHLinear(4, 8, 8, algebra="quaternion")(torch.zeros(3, 8)).shape
        torch.Size([3, 8])
    """

    name = "hypercomplex-linear"
    summary = "a linear map whose matrix is a sum of Kronecker products of an algebra's rule with filters"
    source = "Zhang et al., Beyond fully-connected layers with quaternions: parameterization of hypercomplex multiplications (2021)"
    cost = "in_features"
    portrait = shown("matrix", (1, 16), n=4, in_features=16, out_features=16, algebra="quaternion")

    def __init__(
        self,
        n: int,
        in_features: int,
        out_features: int,
        bias: bool = True,
        algebra: Any = "learned",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        # One tap of a convolution: the same rule, filters and kernel.
        self.map = PHConv(1, n, in_features, out_features, 1, bias=bias, algebra=algebra, device=device, dtype=dtype)
        self.in_features, self.out_features = self.map.in_channels, self.map.out_channels

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, None)
        if input.ndim < 1 or input.shape[-1] != self.in_features:
            raise ArgumentError.of(
                "PHLinear", f"an input (*, {self.in_features})", f"shape {tuple(input.shape)}", "match the last axis"
            )
        return nn.functional.linear(input, self.map.kernel().squeeze(-1), self.map.bias)

    def definition(self, *inputs: Any) -> Tensor:
        y = inputs[0] @ self.map.definition_kernel().squeeze(-1).T
        return y if self.map.bias is None else y + self.map.bias

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (*inputs[0][:-1], self.out_features)

    def parameter_count(self) -> int:
        return self.map.parameter_count()

    def project_algebra(self, name: str) -> Self:
        """See `PHConv.project_algebra`."""
        self.map.project_algebra(name)
        self._arguments.update({} if self.map.learns_algebra else {"algebra": name})
        return self

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"n": 3, "in_features": 6, "out_features": 3}, ((4, 6),))
        yield Example({"n": 4, "in_features": 4, "out_features": 8, "algebra": "quaternion", "bias": False}, ((2, 4),))
