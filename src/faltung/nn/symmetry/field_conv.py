"""What steerable convolutions of the plane and of space share: bases of kernels for pairs of fields, weights, a bias of scalars."""

import math
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import ConvLayer
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.symmetry.groups import GridGroup
from faltung.nn.symmetry.irreps import Irreps, size


class FieldConv(ConvLayer):
    """A convolution of fields whose kernel is a learnt sum of kernels that commute with a group.

    A subclass sets `before`, `after`, `acting` and `scalar`, the name of fields that no element moves, calls `settle` and `_make`,
    and writes `basis` and `definition_basis`. Weights stand pair by pair of parts, (results, inputs, elements of the basis) each.
    """

    before: Irreps
    after: Irreps
    acting: GridGroup
    scalar: str
    scalars: Tensor

    def basis(self, source: str, to: str) -> np.ndarray:
        """Kernels from one field to another, (elements, size of to, size of source, taps), linearly independent."""
        raise ArgumentError.of(type(self).__name__, "basis()", "none", "make kernels for a pair of fields")

    def definition_basis(self, source: str, to: str) -> np.ndarray:
        """The same by its formula, tap by tap."""
        raise ArgumentError.of(type(self).__name__, "definition_basis()", "none", "write the formula down")

    def exchanges(self, a: int, b: int) -> bool:
        """Whether the group sends axis a to axis b."""
        return self.acting.exchanges(a, b)

    def _pairs(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """(part of the result, part of the input, basis) for every pair that a kernel joins."""
        for p, (_, to) in enumerate(self.after.parts):
            for q, (_, source) in enumerate(self.before.parts):
                found = self.basis(source, to)
                if len(found):
                    yield p, q, found

    def _make(self, bias: bool, device: Any, dtype: Any) -> None:
        """Register bases, weights with results of variance 1 for white input of variance 1, and the bias."""
        who, joined = type(self).__name__, list(self._pairs())
        into = [
            sum(self.before.parts[q][0] * len(b) for at, q, b in joined if at == p)
            for p in range(len(self.after.parts))
        ]
        if not all(into):
            dead = [name for many, (_, name) in zip(into, self.after.parts, strict=True) if not many]
            raise ArgumentError.of(
                who, "a kernel_size whose taps carry every field of the result", f"none for {', '.join(dead)}",
                "use more taps, other fields, or lower frequencies",
            )  # fmt: skip
        self.joined = {(p, q): n for n, (p, q, _) in enumerate(joined)}
        scales = []
        for n, (p, q, found) in enumerate(joined):
            made = torch.from_numpy(found).to(device=device, dtype=dtype or torch.get_default_dtype())
            self.register_buffer(f"basis_{n}", made, persistent=False)
            count = self.after.parts[p][0] * self.before.parts[q][0] * len(found)
            scales.append(torch.full((count,), 1 / math.sqrt(into[p])))
        self.weight = nn.Parameter(torch.empty(sum(len(s) for s in scales), device=device, dtype=dtype))
        with torch.no_grad():
            self.weight.normal_().mul_(torch.cat(scales).to(self.weight))
        names = [name for many, name in self.after.parts for _ in range(many * size(name))]
        still = [n for n, name in enumerate(names) if name == self.scalar]
        made = nn.Parameter(torch.zeros(len(still), device=device, dtype=dtype)) if bias and still else None
        self.register_parameter("bias", made)
        self.register_buffer("scalars", torch.tensor(still, device=device, dtype=torch.int64), persistent=False)

    def _check_lattice_alike(self) -> None:
        """Refuse settings that differ along axes that the group exchanges, or at the two ends of an axis.

        Raises:
            ArgumentError: such settings.
        """
        settings = list(zip(self.kernel_size, self.stride, self.pads, self.dilation, strict=True))
        unlike = any(
            self.exchanges(a, b) and settings[a] != settings[b] for a in range(self.ndim) for b in range(self.ndim)
        )
        if unlike or any(lo != hi for lo, hi in self.pads):
            raise ArgumentError.of(
                type(self).__name__, "axes alike that turns exchange, and both ends alike", str(settings), "give one number for all"
            )  # fmt: skip

    def kernel(self) -> Tensor:
        rows: list[list[Tensor]] = [[] for _ in self.after.parts]
        at = 0
        for p, (many, to) in enumerate(self.after.parts):
            for q, (each, source) in enumerate(self.before.parts):
                shape = (many * size(to), each * size(source), math.prod(self.kernel_size))
                if (p, q) not in self.joined:
                    rows[p].append(self.weight.new_zeros(shape))
                    continue
                basis = getattr(self, f"basis_{self.joined[p, q]}")
                count = many * each * len(basis)
                weight = self.weight[at : at + count].reshape(many, each, len(basis))
                rows[p].append(torch.einsum("oib,bxyt->oxiyt", weight, basis).reshape(shape))
                at += count
        return torch.cat([torch.cat(row, 1) for row in rows]).reshape(self.weight_shape)

    def definition_kernel(self) -> Tensor:
        """Field by field, element by element."""
        whole = self.weight.new_zeros(*self.weight_shape[:2], math.prod(self.kernel_size))
        numbers, row = iter(self.weight), 0
        for many, to in self.after.parts:
            column = 0
            for each, source in self.before.parts:
                found = self.definition_basis(source, to)
                for v in range(many):
                    for u in range(each):
                        i, j = row + v * size(to), column + u * size(source)
                        for element in found:
                            place = whole[i : i + size(to), j : j + size(source)]
                            place += next(numbers) * torch.from_numpy(element).to(whole)
                column += each * size(source)
            row += many * size(to)
        return whole.reshape(self.weight_shape)

    def effective_bias(self) -> Tensor | None:
        if self.bias is None:
            return None
        return self.bias.new_zeros(self.out_channels).index_put((self.scalars,), self.bias)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim, batch=False)
        sizes = zip(input.shape[-self.ndim :], self.pads, self.dilation, self.kernel_size, self.stride, strict=True)
        for n, (lo, hi), d, t, s in sizes:
            if (n + lo + hi - d * (t - 1) - 1) % s:
                raise ArgumentError.of(
                    type(self).__name__, f"size + padding − reach a multiple of the stride {s}", f"size {n}",
                    "pad or crop, so that turned results agree",
                )  # fmt: skip
        return functional.conv(
            input, self.kernel(), self.effective_bias(), self.stride, self.padding, self.dilation, 1, self.padding_mode, self.policy
        )  # fmt: skip

    def definition(self, *inputs: Any) -> Tensor:
        bias, own = None, iter(() if self.bias is None else self.bias)
        if self.bias is not None:
            rows = [(name, self.bias.new_zeros(size(name))) for many, name in self.after.parts for _ in range(many)]
            bias = torch.cat([next(own).reshape(1) if name == self.scalar else zeros for name, zeros in rows])
        return conv_by_taps(
            inputs[0], self.definition_kernel(), bias, self.stride, self.pads, self.dilation, 1, self.padding_mode
        )

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """The nearest kernel of this kind in the Frobenius norm, pair by pair of fields by least squares; of the bias the scalars.

        Raises:
            ArgumentError: a kernel of another shape.
        """
        if tuple(kernel.shape) != self.weight_shape:
            raise ArgumentError.of(
                type(self).__name__ + ".take", f"a kernel {self.weight_shape}", f"{tuple(kernel.shape)}", "match it"
            )
        flat, found = kernel.flatten(2).double(), {}
        ends = [0, *np.cumsum([many * size(name) for many, name in self.before.parts]).tolist()]
        row = 0
        for p, (many, to) in enumerate(self.after.parts):
            own = flat[row : row + many * size(to)]
            row += many * size(to)
            for q, (each, source) in enumerate(self.before.parts):
                if (p, q) in self.joined:
                    basis = getattr(self, f"basis_{self.joined[p, q]}").double()
                    given = (
                        own[:, ends[q] : ends[q + 1]].reshape(many, size(to), each, size(source), -1).transpose(1, 2)
                    )
                    found[self.joined[p, q]] = (given.flatten(2) @ torch.linalg.pinv(basis.flatten(1))).flatten()
        self.weight.copy_(torch.cat([found[n] for n in range(len(found))]))
        self.take_bias(None if bias is None else bias[self.scalars])
        return self

    def parameter_count(self) -> int:
        kernel = sum(self.after.parts[p][0] * self.before.parts[q][0] * len(b) for p, q, b in self._pairs())
        return kernel + (
            0 if self.bias is None else sum(many for many, name in self.after.parts if name == self.scalar)
        )
