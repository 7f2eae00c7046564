"""Convolutions of signals that are known at few sites: results at these sites only, or at those of a coarser grid.

A sparse signal is `torch.sparse_coo_tensor(indices (1 + n, sites), values (sites, channels), (batch, *sizes, channels))`. What lies
where is found by sorted addresses and binary search, once for each kernel size: `Sites` keeps it, so that all convolutions of a
block share it. Every tap is then a gathering of rows, a matrix product and a scattering, of those sites only that have a neighbour
there; rows are met once for each tap, so the sums repeat bit for bit.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError, DtypeError

Pairs = tuple[Tensor, Tensor]


class Sites:
    """Where a sparse signal is known, and who is whose neighbour.

    Shapes: indices (1 + n, sites), batch first, in lexicographic order; sizes of the n spatial axes.
    """

    def __init__(self, indices: Tensor, batch: int, sizes: Sequence[int]) -> None:
        self.indices, self.batch, self.sizes = indices, batch, tuple(sizes)
        self.addresses = _addresses(indices, self.sizes)
        self._pairs: dict[tuple[int, ...], list[tuple[tuple[int, ...], Pairs | None]]] = {}

    def __len__(self) -> int:
        return self.indices.shape[1]

    def pairs(self, taps: tuple[int, ...]) -> list[tuple[tuple[int, ...], Pairs | None]]:
        """For every tap of a centred kernel: from which sites (rows) its values go to which; None for the tap in the middle.

        A pair read backwards belongs to the opposite tap, so half of them are looked up.
        """
        if taps not in self._pairs:
            every = list(itertools.product(*map(range, taps)))
            found: list[tuple[tuple[int, ...], Pairs | None]] = []
            for tap in every[: len(every) // 2]:
                source, target = self._neighbours([i - t // 2 for i, t in zip(tap, taps, strict=True)])
                found.append((tap, (source, target)))
                found.append((tuple(t - 1 - i for i, t in zip(tap, taps, strict=True)), (target, source)))
            self._pairs[taps] = [*found, (every[len(every) // 2], None)]
        return self._pairs[taps]

    def _neighbours(self, offset: Sequence[int]) -> Pairs:
        """Rows of the sites p + offset and of the sites p, where both are known."""
        moved = self.indices[1:] + torch.tensor(offset, device=self.indices.device)[:, None]
        inside = (moved >= 0) & (moved < torch.tensor(self.sizes, device=moved.device)[:, None])
        rows = inside.all(0).nonzero().flatten()
        wanted = _addresses(torch.cat((self.indices[:1], moved))[:, rows], self.sizes)
        at = torch.searchsorted(self.addresses, wanted).clamp(max=max(len(self) - 1, 0))
        hit = self.addresses[at] == wanted
        return at[hit], rows[hit]

    def coarser(self, stride: Sequence[int]) -> tuple["Sites", Tensor, Tensor]:
        """The sites of the grid with windows of `stride`; for every site the row of its window, and its tap within the window.

        Sites behind the last whole window have the row −1.
        """
        sizes = [n // s for n, s in zip(self.sizes, stride, strict=True)]
        steps = torch.tensor(stride, device=self.indices.device)[:, None]
        window = self.indices[1:] // steps
        kept = (window < torch.tensor(sizes, device=window.device)[:, None]).all(0)
        places = _addresses(torch.cat((self.indices[:1], window)), sizes)
        addresses, row = torch.unique(places[kept], return_inverse=True)
        rows = torch.full_like(places, -1)
        rows[kept] = row
        left = addresses
        axes: list[Tensor] = []
        for n in reversed(sizes):
            axes.insert(0, left % n)
            left = left // n
        tap = _addresses(torch.cat((torch.zeros_like(self.indices[:1]), self.indices[1:] % steps)), stride)
        return Sites(torch.stack([left, *axes]), self.batch, sizes), rows, tap


def _addresses(indices: Tensor, sizes: Sequence[int]) -> Tensor:
    """Positions in memory of a dense array (batch, *sizes)."""
    total = indices[0]
    for along, n in zip(indices[1:], sizes, strict=True):
        total = total * n + along
    return total


def sites_of(x: Any, channels: int | None, ndim: int, who: str = "submanifold_conv") -> tuple[Sites, Tensor]:
    """Sites and values of a sparse signal.

    Raises:
        DtypeError: no sparse tensor of real numbers.   ArgumentError: another number of axes or channels.
    """
    if not isinstance(x, Tensor) or x.layout != torch.sparse_coo or not x.is_floating_point():
        came = f"a {x.layout} tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise DtypeError.of(
            who, "a sparse tensor (torch.sparse_coo_tensor) of real numbers", came, "build one of the sites"
        )
    if x.sparse_dim() != ndim + 1 or x.dense_dim() != 1 or (channels is not None and x.shape[-1] != channels):
        raise ArgumentError.of(
            who, f"{ndim + 1} sparse axes (batch and space) and one dense axis of {channels or 'the'} channels",
            f"{x.sparse_dim()} sparse and {x.dense_dim()} dense axes, shape {tuple(x.shape)}", "put the channels last, dense",
        )  # fmt: skip
    x = x.coalesce()
    return Sites(x.indices(), x.shape[0], x.shape[1:-1]), x.values()


def sparse(sites: Sites, values: Tensor) -> Tensor:
    """The sparse tensor (batch, *sizes, channels) of values at sites."""
    shape = (sites.batch, *sites.sizes, values.shape[1])
    # Right by construction; said explicitly, because torch warns where neither is said.
    check = torch.sparse.check_sparse_tensor_invariants.is_enabled()
    return torch.sparse_coo_tensor(sites.indices, values, shape, is_coalesced=True, check_invariants=check)


def convolved(sites: Sites, values: Tensor, weight: Tensor) -> Tensor:
    """The values of the submanifold convolution: `y[p] = Σ over known p + o of weight[:, :, o] x[p + o]`.

    Shapes: values (sites, in), weight (out, in, *taps) with odd taps, returns (sites, out).
    """
    taps = tuple(weight.shape[2:])
    if any(t % 2 == 0 for t in taps):
        raise ArgumentError.of(
            "submanifold_conv", "odd numbers of taps, which have a middle", str(taps), "add or drop a tap"
        )
    y = values @ weight[(..., *(t // 2 for t in taps))].T
    for tap, pair in sites.pairs(taps):
        if pair is not None and len(pair[0]):
            source, target = pair
            y = y.index_add(0, target, (values[source] @ weight[(..., *tap)].T).to(y.dtype))
    return y


def pooled(sites: Sites, values: Tensor, weight: Tensor) -> tuple[Sites, Tensor]:
    """The strided convolution with windows side by side: results wherever a window has a site.

    Shapes: values (sites, in), weight (out, in, *taps), the taps being the stride too; returns coarser sites and
    (their number, out).
    """
    taps = tuple(weight.shape[2:])
    coarse, rows, tap = sites.coarser(taps)
    y = values.new_zeros(len(coarse), weight.shape[0])
    for n, one in enumerate(itertools.product(*map(range, taps))):
        source = ((tap == n) & (rows >= 0)).nonzero().flatten()
        if len(source):
            y = y.index_add(0, rows[source], (values[source] @ weight[(..., *one)].T).to(y.dtype))
    return coarse, y


def submanifold_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A convolution of a sparse signal whose results are at the signal's own sites: known sites do not spread.

    Formula: `y[b, p, o] = bias[o] + Σ over c, t of weight[o, c, t] x[b, q, c]` with `q = p + t − ⌊taps/2⌋`, for known p, over
    those t for which q is known.

    Shapes: x sparse (batch, *n, in) with dense channels; weight (out, in, *taps), odd taps; bias (out). Returns sparse
    (batch, *n, out) at the same sites.

    Returns: a coalesced sparse tensor, differentiable with respect to values, weight and bias.

    Raises:
        DtypeError: x is not sparse.   ArgumentError: axes, channels or taps that do not fit.

    Error: that of the products.
    Cost: one sort where x is not coalesced, ½·Π taps binary searches of all sites, and out·in products for every pair of
    neighbours.
    Source: Graham, Engelcke, van der Maaten, 3D semantic segmentation with submanifold sparse convolutional networks (2018).

    Example:
        >>> x = torch.zeros(1, 5, 5, 1).index_put((torch.tensor(0), torch.tensor([1, 1]), torch.tensor([2, 3])), torch.ones(1))
        >>> submanifold_conv(x.to_sparse(3), torch.ones(1, 1, 3, 3)).values()
        tensor([[2.],
                [2.]])
    """
    ndim = weight.ndim - 2
    sites, values = sites_of(x, weight.shape[1], ndim)
    y = convolved(sites, values, weight)
    return sparse(sites, y if bias is None else y + bias)


def pair_count(sites: Sites, taps: Sequence[int]) -> int:
    """How many products of a weight matrix with one site's values the convolution takes."""
    return sum(len(sites) if pair is None else len(pair[0]) for _, pair in sites.pairs(tuple(taps)))
