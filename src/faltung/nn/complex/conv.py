"""The convolution layer of complex numbers, which may choose three real products over four."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.init import complex_
from faltung.nn import functional
from faltung.nn.base import Example, Symmetry, shown
from faltung.nn.complex.base import ComplexLayer, turned
from faltung.nn.conv import Conv as RealConv
from faltung.nn.functional.complex import METHODS
from faltung.planner import Policy


class Conv(ComplexLayer, RealConv):
    """A convolution layer with complex parameters, drawn as complex numbers want it, by the method that is expected to be fastest.

    `faltung.nn.Conv` takes complex dtypes too, in complex arithmetic. One bias for each output, complex itself: a bias for each of
    the real layers inside, as some libraries have, would add (1 + j)(br + j·bi).

    Formula: see `faltung.nn.functional.conv_complex`.

    Shapes: those of `faltung.nn.Conv`; state dicts are interchangeable with it and with torch's complex layers.

    Args:
        ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, policy: see
            `faltung.nn.Conv`.
        method: `auto`, `direct`, `4m` or `3m`, see `faltung.nn.functional.conv_complex`. Default auto.
        dtype: complex64 (default) or complex128.

    Raises:
        ArgumentError, DtypeError: settings that name no layer; a real dtype.

    Example:
        >>> Conv(2, 1, 4, 3, padding=1, method="3m")(torch.zeros(1, 1, 5, 5, dtype=torch.complex64)).shape
        torch.Size([1, 4, 5, 5])
    """

    name = "complex-conv"
    summary = "a convolution layer with complex parameters, by four real products or by three"
    cost = "3 or 4 · in / groups · Π kernel_size"
    portrait = shown("smooth bank", (1, 3, 48, 48), complex=True, ndim=2, in_channels=3, out_channels=3, kernel_size=11)
    source = "Trabelsi et al., Deep complex networks (2018)"
    dims = ()
    spatial = (1, 2, 3, 4)

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
        method: str = "auto",
        device: Any = None,
        dtype: torch.dtype = torch.complex64,
        policy: Policy | None = None,
    ) -> None:
        if method not in METHODS:
            raise ArgumentError.of("complex.Conv", f"a method among {', '.join(METHODS)}", repr(method), "use 'auto'")
        if not isinstance(dtype, torch.dtype) or not dtype.is_complex:
            raise DtypeError.of("complex.Conv", "a complex dtype", repr(dtype), "use faltung.nn.Conv for real numbers")
        super().__init__(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype,
            policy,
        )  # fmt: skip
        self.method = method

    def reset_parameters(self) -> None:
        """Draw the weight by `faltung.init.complex_`; the bias starts at zero."""
        complex_(self.weight.detach(), "he")
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return functional.conv_complex(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups, self.padding_mode, self.policy,
            self.method,
        )  # fmt: skip

    def symmetries(self) -> Iterable[Symmetry]:
        yield from super().symmetries()
        if self.bias is None:
            yield turned()

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 2, "out_channels": 4, "kernel_size": 3}
        yield Example({"ndim": 1, **common, "stride": 2, "padding": 1, "method": "3m"}, ((2, 2, 7),), complex=True)
        settings = {"groups": 2, "dilation": 2, "padding": "same", "padding_mode": "reflect", "bias": False}
        yield Example({"ndim": 2, **common, **settings, "method": "4m"}, ((2, 2, 5, 4),), complex=True)
        settings = {"padding": 1, "padding_mode": "circular", "bias": False}
        yield Example({"ndim": 2, **common, **settings, "method": "3m"}, ((1, 2, 4, 4),), complex=True)
        yield Example({"ndim": 3, **common, "kernel_size": (1, 2, 3)}, ((1, 2, 3, 3, 4),), complex=True)
        yield Example({"ndim": 4, **common, "kernel_size": 2, "method": "direct"}, ((1, 2, 2, 3, 2, 3),), complex=True)
