"""What hypercomplex layers share: the rule of the algebra, the filters, the kernel that both make, and how it is applied."""

import itertools
import math
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from faltung import torch_gate
from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.nn.algebraic.structure import nearest_filters, of_tensor, structure
from faltung.nn.base import ConvLayer, uniform_bias
from faltung.nn.exchange import double, grouped, low_rank
from faltung.nn.functional import Call

SOURCE = "Grassucci, Zhang and Comminiello, PHNNs: lightweight neural networks via parameterized hypercomplex convolutions (2022)"
METHODS = ("auto", "dense", "products")


class Hypercomplex(ConvLayer):
    """What the three layers share: the rule of the algebra, the filters, the kernel that both make, and how it is applied."""

    source = SOURCE
    transposed: ClassVar[bool] = False

    n: int
    algebra: Any
    method: str
    rule: Tensor
    filters: nn.Parameter

    def _build(self, n: Any, algebra: Any, method: str, bias: bool, factory: dict[str, Any]) -> None:
        """Make rule, filters and bias.

        Rule and kernel have the variances of Glorot and Bengio's initial values, 1 / n and 2 / (fan in + fan out); the filters have
        that of the kernel.
        """
        (self.n,) = functional.numbers("n", n, 1, 1)
        rows, columns = self.out_channels // self.groups, self.in_channels // self.groups
        if rows % self.n or columns % self.n:
            raise ArgumentError.of(
                type(self).__name__, f"in and out channels of each group that n = {self.n} divides", f"{columns} and {rows}",
                "choose n that divides both",
            )  # fmt: skip
        self._set_algebra(algebra, factory)
        if method not in METHODS or (method == "products" and self.left is None):
            raise ArgumentError.of(
                type(self).__name__, f"method among {', '.join(METHODS)}, the last for an algebra with an algorithm",
                f"{method!r} for {algebra!r}", "use 'auto'",
            )  # fmt: skip
        self.method = method
        wide = (columns, rows) if self.transposed else (rows, columns)
        sizes = (self.n, self.groups * wide[0] // self.n, wide[1] // self.n, *self.kernel_size)
        bound = math.sqrt(6 / ((rows + columns) * math.prod(self.kernel_size)))
        self.filters = _uniform(sizes, bound, factory)
        made = uniform_bias(self.out_channels, columns * math.prod(self.kernel_size), factory) if bias else None
        self.register_parameter("bias", made)

    def _set_algebra(self, algebra: Any, factory: dict[str, Any]) -> None:
        self.algebra, found = algebra, None
        if isinstance(algebra, str) and algebra == "learned":
            self.rule = _uniform((self.n,) * 3, math.sqrt(3 / self.n), factory)
        else:
            made = torch.empty(0, **factory)
            field = "complex" if made.is_complex() else "real"
            found = structure(algebra, self.n, field) if isinstance(algebra, str) else of_tensor(algebra, self.n)
            if found.table.is_complex() and not made.is_complex():
                raise DtypeError.of("algebra", "real numbers for a real layer", str(found.table.dtype), "give dtype=")
            self.register_buffer("rule", found.table.to(made), persistent=False)
        for name in ("left", "right", "out"):  # of the bilinear algorithm, where the algebra has one
            value = (
                None
                if found is None or found.left is None
                else getattr(found, name).to(self.rule, copy=True).contiguous()
            )
            self.register_buffer(name, value, persistent=False)

    @property
    def learns_algebra(self) -> bool:
        """Whether the rule is a parameter."""
        return isinstance(self.rule, nn.Parameter)

    def kernel(self) -> Tensor:
        rule = self.rule.transpose(1, 2) if self.transposed else self.rule
        filters = self.filters.unflatten(1, (self.groups, -1))
        return torch.einsum("ipq,igrs...->gprqs...", rule, filters).flatten(3, 4).flatten(0, 2)

    def definition_kernel(self) -> Tensor:
        """`Σ over i of A_i ⊗ F_i` for each group and tap."""
        tables = [self.rule[i].T.contiguous() if self.transposed else self.rule[i].contiguous() for i in range(self.n)]
        stacked = []
        for part in self.filters.chunk(self.groups, 1):
            taps = [
                sum(torch.kron(table, f[(..., *tap)].contiguous()) for table, f in zip(tables, part, strict=True))
                for tap in itertools.product(*map(range, self.kernel_size))
            ]
            stacked.append(torch.stack(taps, -1).unflatten(-1, self.kernel_size))
        return torch.cat(stacked)

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """The nearest kernel in the Frobenius norm; exact for every kernel with a learnt rule where n = 1.

        A known rule stays, and the filters are found by least squares. A learnt one is found with them: the kernel as a matrix
        (n · n pairs of components, filters' taps) is brought to rank n by singular values (Van Loan and Pitsianis, 1993).
        """
        blocks = grouped(double(kernel), self).unflatten(0, (self.groups, self.n, -1)).unflatten(3, (self.n, -1))
        blocks = blocks.movedim(0, 1).flatten(1, 2)  # (n, groups · out / n, n, in / n, *t)
        if self.learns_algebra:
            rule, filters = low_rank(blocks.transpose(1, 2).flatten(0, 1).flatten(1), self.n)
            rule = rule.T.reshape(self.n, self.n, self.n)
            self.rule.copy_(rule.transpose(1, 2) if self.transposed else rule)
            self.filters.copy_(filters.reshape(self.filters.shape))
        else:
            table = self.rule.transpose(1, 2) if self.transposed else self.rule
            self.filters.copy_(nearest_filters(table.to(blocks), blocks))
        self.take_bias(bias)
        return self

    def parameter_count(self) -> int:
        channels = self.in_channels * self.out_channels // (self.n * self.groups)
        rule = self.n**3 if self.learns_algebra else 0
        return rule + channels * math.prod(self.kernel_size) + (0 if self.bias is None else self.out_channels)

    @torch.no_grad()
    def project_algebra(self, name: str) -> Self:
        """Give the layer the rule of that algebra, and the filters whose kernel is nearest to the present one (least squares).

        A learnt rule stays learnt and goes on from there; a fixed one is replaced. Returns the layer.

        Raises:
            ArgumentError: no such algebra with n components.
        """
        found = structure(name, self.n)
        table = found.table.transpose(1, 2) if self.transposed else found.table
        kernel = self.kernel().unflatten(0, (self.groups, self.n, -1)).transpose(0, 1).flatten(1, 2)
        self.filters.copy_(nearest_filters(table.to(self.rule), kernel.unflatten(2, (self.n, -1))))
        if self.learns_algebra:
            self.rule.copy_(found.table)
        else:
            self._set_algebra(name, {"device": self.filters.device, "dtype": self.filters.dtype})
            self._arguments["algebra"] = name
        return self

    def _options(self) -> tuple[Any, ...]:
        """The settings of the convolution as the planner's texts take them."""
        return self.stride, self.padding, self.dilation, self.groups, self.padding_mode

    def _apply_kernel(self, input: Tensor, kernel: Tensor, groups: int) -> Tensor:
        return functional.conv(
            input, kernel, None, self.stride, self.padding, self.dilation, groups, self.padding_mode, self.policy
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        by_products = self._by_products(input)
        y = self._products(input) if by_products else self._apply_kernel(input, self.kernel(), self.groups)
        return y if self.bias is None else y + self.bias.reshape(-1, *[1] * self.ndim)

    # -- by fewer products --------------------------------------------------------------------------------------------

    def _by_products(self, input: Tensor) -> bool:
        """Whether the algebra's algorithm is to be used: it was asked for, or the planner expects it to be faster."""
        if self.left is None or self.method == "dense" or input.ndim != self.ndim + 2 or not input.numel():
            return False
        if input.dtype != self.filters.dtype or input.shape[1] != self.in_channels:
            return False  # the plain call brings dtypes together where it may, or says what is wrong
        if self.method == "products":
            return True
        shape, dtype, device = torch_gate.facts(input)
        return functional.fastest(self._ways(shape, dtype, device), self.policy) == 1

    def _ways(self, shape: tuple[int, ...], dtype: str, device: str) -> tuple[tuple[Call, ...], ...]:
        """The calls with the whole kernel, and those by products; making a kernel counts as a filter of one tap."""
        n, g, rank = self.n, self.groups, self.left.shape[0]
        (_, rows, columns, *taps), where = self.filters.shape, (dtype, device)
        single, options = (1, 0, 1, 1, "zeros"), self._options()

        def mixed(batch: int, row: int, out: int, wide: int) -> Call:
            return Call((batch, row, wide), (out, row, 1), single, *where)

        size, result = math.prod(shape[2:]), math.prod(self.shapes(shape)[2:])
        each = rows * columns * math.prod(taps)
        dense = Call(shape, (rows * n, columns * n, *taps), options, *where, self.transposed)
        parts = (shape[0], shape[1] // n * rank, *shape[2:])
        grouped = (*options[:3], g * rank, *options[4:])
        products = Call(parts, (rows * rank, columns, *taps), grouped, *where, self.transposed)
        before = mixed(shape[0] * g, n, rank, self.in_channels // (n * g) * size)
        after = mixed(shape[0] * g, rank, n, self.out_channels // (n * g) * result)
        return (dense, mixed(1, n, n * n, each)), (products, mixed(1, n, rank, each), before, after)

    def _products(self, input: Tensor) -> Tensor:
        """The result without bias: each product is a convolution of n times fewer channels and outputs, all in one grouped call."""
        g, rank = self.groups, self.left.shape[0]
        kernel = torch.einsum("ti,igrs...->gtrs...", self.left, self.filters.unflatten(1, (g, -1))).flatten(0, 2)
        batch, sizes = input.shape[0], input.shape[2:]
        parts = torch.matmul(self.right, input.reshape(batch * g, self.n, -1))
        y = self._apply_kernel(parts.reshape(batch, -1, *sizes), kernel, g * rank)
        return torch.matmul(self.out, y.reshape(batch * g, rank, -1)).reshape(batch, self.out_channels, *y.shape[2:])


def _uniform(sizes: tuple[int, ...], bound: float, factory: dict[str, Any]) -> nn.Parameter:
    """Numbers within ±bound, real and imaginary parts alike but √2 smaller, so that the variance is the same."""
    made = torch.empty(sizes, **factory)
    if made.is_complex():
        nn.init.uniform_(torch.view_as_real(made), -bound / math.sqrt(2), bound / math.sqrt(2))
    else:
        nn.init.uniform_(made, -bound, bound)
    return nn.Parameter(made)
