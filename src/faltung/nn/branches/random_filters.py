"""Spatial filters that stay random; only their combinations are learnt."""

import math
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.nn.base import ConvLayer, Example, shown, uniform_bias
from faltung.nn.exchange import grouped
from faltung.planner import Policy

BANKS = ("shared", "per_channel", "dense")


class RandomFilterConv(ConvLayer):
    """A convolution whose kernels are learnt combinations of frozen random filters.

    Formula: `W[o, i] = Σ_e α[o, i, e] · F_e` with a shared bank, `F_{i,e}` with one for each channel; with a dense bank
    of in · E filters over all channels `W[o] = Σ_m α[o, m] · F_m`. Only α and the bias are learnt. A shared bank confines every
    kernel to the span of its filters, min(E, Π kernel_size) dimensions: no longer a limit once E reaches Π kernel_size.

    Computed as one convolution with the kernels W, or bank first and combinations second where that takes fewer multiplications.

    Shapes: input (batch, in, *n) or (in, *n), returns (batch, out, *m) or (out, *m) as `faltung.nn.functional.conv`; buffer `bank`
    (E, *t), (in, E, *t) or (in · E, in / groups, *t); parameter `weight` (out, in / groups, E) or (out, in / groups · E).

    Args:
        ndim: number of spatial axes, 1 to 4.   in_channels, out_channels: at least 1, multiples of groups.
        kernel_size: taps, one number or one for each axis.   expansion: filters E for each input channel.
        stride, padding, dilation, groups, padding_mode, device, dtype, policy: see `faltung.nn.Conv`.
        bias: default True.
        bank: shared, per_channel or dense; or filters of your own of shape (E, *t), for many taps draw structured ones: filters of
            independent numbers are poor there. Default shared.
        seed: from which the bank is drawn, apart from torch's own generator. Default 0.
        orthonormal: whether the filters of a bank are made orthonormal; then the coefficients of a kernel are its products with
            the filters. Default False: independent normal numbers of variance 1 / Π kernel_size.
        stored: whether state dicts hold the bank; without, it is made anew from the seed. Default True.
        frozen: whether the bank stays as it is; see `unfreeze`. Default True.

    Raises:
        ArgumentError: an unknown bank, or more orthonormal filters than there are taps.

    Cost: the smaller of in / groups · Π kernel_size and E·in·(Π kernel_size / out + 1 / groups).
    Source: Gavrikov and Keuper, Rethinking 1×1 convolutions: can we train CNNs with frozen random filters? (2023). A batch norm
        between bank and combination would only rescale α; put it behind the layer.

    Example:
        >>> layer = RandomFilterConv(2, 4, 8, 3, expansion=5)
        >>> layer.parameter_count(), layer.bank.requires_grad
        (168, False)
    """

    name = "random-filters"
    summary = "learnt combinations of frozen random filters"
    source = "Gavrikov and Keuper, Rethinking 1×1 convolutions: can we train CNNs with frozen random filters? (2023)"
    cost = "the smaller of in / groups · Π kernel_size and E · in · (Π kernel_size / out + 1 / groups)"
    portrait = shown(
        "kernels taken", (1, 1, 96, 96), ndim=2, in_channels=1, out_channels=2, kernel_size=23, expansion=200
    )

    bank: Tensor

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        expansion: int,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        bank: Any = "shared",
        seed: int = 0,
        orthonormal: bool = False,
        stored: bool = True,
        frozen: bool = True,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, policy
        )
        (self.expansion,) = functional.numbers("expansion", expansion, 1, 1)
        self.kind, self.stored, self.frozen = bank if isinstance(bank, str) else "shared", stored, frozen
        if self.kind not in BANKS:
            raise ArgumentError.of("bank", f"{', '.join(BANKS)} or filters", repr(bank), "choose one of these")
        factory = {"device": device, "dtype": dtype}
        drawn = (self._drawn(seed, orthonormal) if isinstance(bank, str) else self._own(bank)).to(**factory)
        drawn = drawn.to(torch.get_default_dtype()) if dtype is None else drawn
        if frozen:
            self.register_buffer("bank", drawn, persistent=stored)
        else:
            self.bank = nn.Parameter(drawn)
        inner = self.in_channels // self.groups
        shape = (inner * self.expansion,) if self.kind == "dense" else (inner, self.expansion)
        self.weight = nn.Parameter(torch.empty((self.out_channels, *shape), **factory))
        self.register_parameter("bias", None)
        if bias:
            self.bias = uniform_bias(self.out_channels, math.prod(self.weight_shape[1:]), factory)
        self.reset_parameters()

    def _drawn(self, seed: int, orthonormal: bool) -> Tensor:
        """The bank in double precision, the same numbers on every device."""
        taps, inner = math.prod(self.kernel_size), self.in_channels // self.groups
        many, count, size = {
            "shared": (1, self.expansion, taps),
            "per_channel": (self.in_channels, self.expansion, taps),
            "dense": (self.groups, inner * self.expansion, inner * taps),
        }[self.kind]
        generator = torch.Generator().manual_seed(seed)
        filters = torch.randn((many, count, size), dtype=torch.float64, generator=generator) / math.sqrt(taps)
        if orthonormal:
            if count > size:
                raise ArgumentError.of(
                    "expansion",
                    f"at most {taps} orthonormal filters of {taps} taps",
                    str(self.expansion),
                    "take fewer filters",
                )
            filters = torch.linalg.qr(filters.mT)[0].mT
        shape = {
            "shared": (self.expansion,), "per_channel": (self.in_channels, self.expansion),
            "dense": (self.in_channels * self.expansion, inner),
        }[self.kind]  # fmt: skip
        return filters.reshape(*shape, *self.kernel_size).contiguous()

    def _own(self, bank: Any) -> Tensor:
        filters = bank.detach() if isinstance(bank, Tensor) else torch.as_tensor(bank, dtype=torch.float64)
        if tuple(filters.shape) != (self.expansion, *self.kernel_size):
            raise ArgumentError.of(
                "bank", f"filters of shape {(self.expansion, *self.kernel_size)}", f"shape {tuple(filters.shape)}",
                "set expansion and kernel_size to those of the filters",
            )  # fmt: skip
        return filters.clone()

    def reset_parameters(self) -> None:
        """Draw α so that the kernels vary as those of torch's layers; the bank stays."""
        bound = 1 / math.sqrt(self.in_channels // self.groups * self.expansion)
        nn.init.uniform_(self.weight, -bound, bound)

    def _filters(self) -> Tensor:
        """The bank as (groups, in / groups, E, *t), or (groups, in / groups · E, in / groups, *t) where dense."""
        inner = self.in_channels // self.groups
        if self.kind == "shared":
            return self.bank.expand(self.groups, inner, *self.bank.shape)
        first = inner * self.expansion if self.kind == "dense" else inner
        return self.bank.reshape(self.groups, first, *self.bank.shape[1:])

    def kernel(self) -> Tensor:
        weight = self.weight.reshape(self.groups, -1, *self.weight.shape[1:])
        pattern = "gom,gmi...->goi..." if self.kind == "dense" else "goie,gie...->goi..."
        return torch.einsum(pattern, weight, self._filters()).flatten(0, 1)

    def definition_kernel(self) -> Tensor:
        kernel = self.weight.new_zeros(self.weight_shape)
        inner, per = self.in_channels // self.groups, self.out_channels // self.groups
        for o in range(self.out_channels):
            first = o // per * inner
            for i in range(inner):
                for e in range(self.expansion):
                    if self.kind == "dense":
                        kernel[o] += (
                            self.weight[o, i * self.expansion + e] * self.bank[(first + i) * self.expansion + e]
                        )
                    else:
                        one = self.bank[first + i, e] if self.kind == "per_channel" else self.bank[e]
                        kernel[o, i] += self.weight[o, i, e] * one
        return kernel

    def in_two_steps(self) -> bool:
        """Whether bank first and combinations second takes fewer multiplications than the kernels that they make."""
        taps, inner = math.prod(self.kernel_size), self.in_channels // self.groups
        first = self.in_channels * self.expansion * taps * (inner if self.kind == "dense" else 1)
        return first + self.out_channels * inner * self.expansion < self.out_channels * inner * taps

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim, batch=False)
        if not self.in_two_steps():
            return super().forward(input)
        inner, dense = self.in_channels // self.groups, self.kind == "dense"
        filters = self._filters().reshape(self.in_channels * self.expansion, inner if dense else 1, *self.kernel_size)
        responses = functional.conv(
            input, filters, None, self.stride, self.padding, self.dilation, self.groups if dense else self.in_channels,
            self.padding_mode, self.policy,
        )  # fmt: skip
        mixing = self.weight.reshape(self.out_channels, inner * self.expansion, *[1] * self.ndim)
        return functional.conv(responses, mixing, self.bias, groups=self.groups, policy=self.policy)

    def merge(self) -> nn.Module:
        """The one plain convolution: torch's layer where there is one."""
        return self.freeze().eval()

    def unfreeze(self) -> None:
        """Make the bank a parameter, which is learnt and stored from now on. Optimisers made before do not know of it."""
        if self.frozen:
            bank = self.bank
            del self._buffers["bank"]
            self._non_persistent_buffers_set.discard("bank")
            self.bank = nn.Parameter(bank)
            self.frozen = self._arguments["frozen"] = False

    @torch.no_grad()
    def fit(self, kernel: Tensor) -> Tensor:
        """Set α to the combinations closest to a kernel (out, in / groups, *t); returns what is left over, the difference.

        Raises:
            ArgumentError: another shape.   DtypeError: no tensor.
        """
        if not isinstance(kernel, Tensor):
            raise DtypeError.of("fit", "a kernel as a tensor", type(kernel).__name__, "pass layer.weight, say")
        if tuple(kernel.shape) != self.weight_shape:
            raise ArgumentError.of(
                "fit", f"a kernel of shape {self.weight_shape}", f"{tuple(kernel.shape)}", "match channels and taps"
            )
        taps, inner = math.prod(self.kernel_size), self.in_channels // self.groups
        filters = self._filters()
        if self.kind == "dense":
            columns, wanted = filters.flatten(2), kernel.reshape(self.groups, -1, inner * taps)
        else:
            columns = filters.flatten(3)
            wanted = kernel.reshape(self.groups, -1, inner, taps).transpose(1, 2)
        wide = torch.complex128 if kernel.is_complex() else torch.float64
        found = wanted.to(wide) @ torch.linalg.pinv(columns.to(wide))
        found = found if self.kind == "dense" else found.transpose(1, 2)
        self.weight.copy_(found.reshape(self.weight.shape))
        return kernel - self.kernel()

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """The nearest combinations of the bank; exact where its filters span all kernels. The bank stays."""
        self.fit(grouped(kernel, self))
        self.take_bias(bias)
        return self

    def parameter_count(self) -> int:
        bias = 0 if self.bias is None else self.out_channels
        bank = 0 if self.frozen else self.bank.numel()
        return self.out_channels * (self.in_channels // self.groups) * self.expansion + bias + bank

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "in_channels": 2, "out_channels": 3, "kernel_size": 3, "expansion": 2}, ((2, 2, 7),))
        yield Example(
            {"ndim": 1, "in_channels": 2, "out_channels": 8, "kernel_size": 5, "expansion": 2, "bank": "per_channel", "stride": 2,
             "orthonormal": True, "groups": 2, "padding": 2}, ((2, 2, 7),),
        )  # fmt: skip
        yield Example(
            {"ndim": 2, "in_channels": 2, "out_channels": 4, "kernel_size": 3, "expansion": 2, "bank": "dense", "stored": False,
             "padding": 1, "padding_mode": "circular"}, ((1, 2, 3, 4),),
        )  # fmt: skip
        yield Example(
            {"ndim": 2, "in_channels": 2, "out_channels": 2, "kernel_size": (1, 2), "expansion": 1, "frozen": False, "bias": False,
             "bank": [[[1.0, -1.0]]], "dilation": 2}, ((1, 2, 3, 4),),
        )  # fmt: skip
        yield Example(
            {"ndim": 3, "in_channels": 2, "out_channels": 8, "kernel_size": 3, "expansion": 1, "bank": "per_channel"},
            ((1, 2, 3, 3, 4),),
        )  # fmt: skip
        yield Example(
            {"ndim": 4, "in_channels": 2, "out_channels": 2, "kernel_size": 2, "expansion": 3, "bank": "dense", "groups": 2,
             "seed": 3}, ((1, 2, 2, 3, 2, 2),),
        )  # fmt: skip
