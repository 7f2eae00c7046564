"""What layers share whose kernel is a weighted sum of several learnt ones, with other weights for each sample."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, ConvLayer, Symmetry
from faltung.nn.conv import Conv, ConvTranspose
from faltung.nn.functional.definition import conv_by_taps


class KernelBank(ConvLayer):
    """The settings of a convolution and `count` kernels (and biases) for it, each drawn as that of an ordinary layer.

    The fan-in of a kernel is its own, not that of all kernels together: they are alternatives, and only one of them, or a mean,
    meets a signal. Drawn as one tensor they would be smaller by the root of their number.
    """

    transposed: ClassVar[bool] = False

    count: int
    output_padding: tuple[int, ...]
    weight: nn.Parameter

    def _build(self, count: int, bias: bool, factory: dict[str, Any], output_padding: Any = 0) -> None:
        """Make the parameters."""
        self.count = count
        self.output_padding = functional.numbers("output_padding", output_padding, self.ndim, 0)
        self.weight = nn.Parameter(torch.empty(count, *self.weight_shape, **factory))
        made = nn.Parameter(torch.empty(count, self.out_channels, **factory)) if bias else None
        self.register_parameter("bias", made)
        self.reset_parameters()

    @property
    def weight_shape(self) -> tuple[int, ...]:
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        return (first, second // self.groups, *self.kernel_size)

    def reset_parameters(self) -> None:
        """Draw every kernel and bias as torch draws those of a layer: uniform within 1/√fan_in of that one kernel."""
        for kernel in self.weight:
            nn.init.kaiming_uniform_(kernel, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0, 0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def bank_count(self) -> int:
        """How many numbers kernels and biases have."""
        return self.count * (math.prod(self.weight_shape) + (0 if self.bias is None else self.out_channels))

    def checked_weights(self, name: str, given: Tensor, batch: int, count: int) -> Tensor:
        """Weights (batch, count), or (count) for all samples; ArgumentError for others."""
        single = isinstance(given, Tensor) and given.ndim == 1
        self.expect(given[None] if single else given, count, 0)
        if not single and given.shape[0] != batch:
            raise ArgumentError.of(
                type(self).__name__, f"{name} for {batch} samples", f"shape {tuple(given.shape)}",
                f"give {name} of shape ({batch}, {count}) or ({count},)",
            )  # fmt: skip
        return given

    def mixed(self, input: Tensor, weights: Tensor) -> Tensor:
        """The layer with the kernel `Σ_i weights[..., i]·kernel[i]`."""
        if self.transposed:
            return functional.conv_transpose_mixed(
                input, self.weight, weights, self.bias, self.stride, self.padding, self.output_padding, self.groups,
                self.dilation, self.padding_mode, self.policy,
            )  # fmt: skip
        return functional.conv_mixed(
            input, self.weight, weights, self.bias, self.stride, self.padding, self.dilation, self.groups, self.padding_mode,
            self.policy,
        )  # fmt: skip

    def mixed_definition(self, input: Tensor, weights: Tensor) -> Tensor:
        """`Σ_i weights[b, i]·(W_i ∗ x[b] + c_i)` as written: every kernel is applied to every sample."""
        total: Any = 0.0
        for i in range(self.count):
            bias = None if self.bias is None else self.bias[i]
            if self.transposed:
                y = self.at(torch.eye(self.count, dtype=self.weight.dtype)[i]).definition(input)
            else:
                y = conv_by_taps(
                    input, self.weight[i], bias, self.stride, self.pads, self.dilation, self.groups, self.padding_mode
                )
            total = total + y * weights[..., i].reshape(-1, *[1] * (self.ndim + 1))
        return total

    def at(self, weights: Tensor) -> Conv | ConvTranspose:
        """The plain layer `Conv` (or `ConvTranspose`) that this one is for one vector of mixing weights (count).

        Raises:
            ArgumentError: weights of another shape.
        """
        if weights.shape != (self.count,):
            raise ArgumentError.of(
                f"{type(self).__name__}.at", f"mixing weights ({self.count},)", f"shape {tuple(weights.shape)}",
                "one plain layer has one kernel: choose the weights of one sample",
            )  # fmt: skip
        settings = {
            name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups", "padding_mode", "policy")
        }
        settings |= {"output_padding": self.output_padding} if self.transposed else {}
        kind = ConvTranspose if self.transposed else Conv
        made = kind(
            self.ndim, self.in_channels, self.out_channels, self.kernel_size, bias=self.bias is not None, device="meta", **settings
        )  # fmt: skip
        with torch.no_grad():
            made.weight = nn.Parameter(functional.mixture(self.weight, weights.to(self.weight)).clone())
            if self.bias is not None:
                made.bias = nn.Parameter((weights.to(self.bias) @ self.bias).clone())
        return made.train(self.training)

    def effective_kernel(self) -> Tensor:
        """Refused: the kernel is another for every input."""
        raise ArgumentError.of(
            f"{type(self).__name__}.effective_kernel", "one kernel for all inputs", "one that the mixing weights decide",
            "take layer.at(weights).weight",
        )  # fmt: skip

    def freeze(self) -> nn.Module:
        """Refused: the kernel is another for every input; `at` gives the plain layer for one vector of mixing weights."""
        self.effective_kernel()
        return self

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({PER_SAMPLE})

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        if not self.transposed:
            return super().shapes(inputs[0])
        extra = zip(
            inputs[0][-self.ndim :], self.pads, self.dilation, self.kernel_size, self.stride, self.output_padding, strict=True
        )  # fmt: skip
        sizes = ((m - 1) * s - lo - hi + d * (t - 1) + more + 1 for m, (lo, hi), d, t, s, more in extra)
        return (inputs[0][0], self.out_channels, *sizes)

    def symmetries(self) -> Iterable[Symmetry]:
        return () if self.transposed else super().symmetries()


LINEAR_CLAIMS = frozenset({LINEAR, PER_SAMPLE})
