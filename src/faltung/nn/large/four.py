"""Space and time apart: the layer `STDBlock`, on dense and on sparse four-dimensional signals."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import PER_SAMPLE, Example, Layer, shown
from faltung.nn.conv import Conv
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.functional.submanifold import Sites, convolved, pooled, sites_of, sparse
from faltung.planner import Policy

SPACE, TIME, POINT = (3, 3, 3, 1), (1, 1, 1, 3), (1, 1, 1, 1)
SLOPE = 0.01


class STDBlock(Layer):
    """Two rounds of a spatial and a temporal convolution side by side, fused by a 1×1×1×1 convolution, in place of two 3⁴ ones.

    Formula: with a(z) = LeakyReLU(norm(z)), slope 0.01, batch norms and convolutions without constants,

        round(x) = a(F ∗ concat(a(S ∗ x), a(T ∗ x), x))      S: 3×3×3×1, T: 1×1×1×3, F: 1×1×1×1
        y = round₂(round₁(x));   with `pool` also P ∗ y, a convolution whose windows and stride are `pool`

    A sparse block knows its signal at some sites only: its results are at the same sites (submanifold), unknown ones count as zero
    in convolutions and do not take part in norms. After `pool` those windows are known that hold a known site.

    Shapes: dense input (batch, in, D, H, W, T), returns (batch, out, D, H, W, T), with `pool` the pair of the pooled result
    (batch, out, ⌊D/p⌋, …) and this one. Sparse input `torch.sparse_coo_tensor` (batch, D, H, W, T, in) with dense channels, and
    results likewise.

    Args:
        in_channels, mid_channels, out_channels: at least 1; the first round ends with mid channels.
        pool: windows along D, H, W and T, or None for none. Default None. The paper's are (2, 2, 2, 1) and (2, 2, 1, 1).
        sparse: whether signals are sparse. Such a block also takes a dense signal, whose known sites are those with a channel that
            is not zero, and returns a dense one that is zero at unknown sites. Default False.
        device, dtype: of the parameters.   policy: see `faltung.nn.functional.conv`, for dense signals.

    Returns: a tensor or a pair, dense or sparse as the input.

    Raises:
        ArgumentError: settings that name no layer, or another number of axes or channels.   DtypeError: no real numbers.

    Cost: 31 taps (27 + 3 + 1) in place of 81; a sparse block takes products for pairs of known neighbours only, found once for
    both rounds.

    Source: as below.

    Example:
        >>> STDBlock(2, 4, 8, pool=(2, 2, 2, 1))(torch.zeros(1, 2, 4, 4, 4, 3))[0].shape
        torch.Size([1, 8, 2, 2, 2, 3])
    """

    name = "std-block"
    summary = "spatial and temporal convolutions of a four-dimensional signal side by side, dense or submanifold"
    source = "Kim et al., Flow4D: leveraging 4D voxel network for LiDAR scene flow estimation (2025)"
    cost = "31 · in · mid + … : 27 + 3 taps and a 1×1 of the three concatenated signals, twice"
    portrait = shown("field", (1, 1, 9, 13, 13, 9), in_channels=1, mid_channels=4, out_channels=1)

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        pool: Any = None,
        sparse: bool = False,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.in_channels, self.mid_channels, self.out_channels = functional.numbers(
            "in_channels, mid_channels, out_channels", (in_channels, mid_channels, out_channels), 3, 1
        )

        def conv(before: int, after: int, taps: tuple[int, ...], **settings: Any) -> Conv:
            return Conv(4, before, after, taps, bias=False, policy=policy, **settings, **factory)

        rounds = ((self.in_channels, self.mid_channels), (self.mid_channels, self.out_channels))
        mid = self.mid_channels
        self.space = nn.ModuleList(conv(before, mid, SPACE, padding=(1, 1, 1, 0)) for before, _ in rounds)
        self.time = nn.ModuleList(conv(before, mid, TIME, padding=(0, 0, 0, 1)) for before, _ in rounds)
        self.fuse = nn.ModuleList(conv(2 * mid + before, after, POINT) for before, after in rounds)
        self.space_norms = nn.ModuleList(nn.BatchNorm1d(mid, **factory) for _ in rounds)
        self.time_norms = nn.ModuleList(nn.BatchNorm1d(mid, **factory) for _ in rounds)
        self.fuse_norms = nn.ModuleList(nn.BatchNorm1d(after, **factory) for _, after in rounds)
        self.windows = None if pool is None else functional.numbers("pool", pool, 4, 1)
        self.pool = None
        if self.windows is not None:
            self.pool = conv(self.out_channels, self.out_channels, self.windows, stride=self.windows)
        self.sparse = sparse

    def forward(self, input: Tensor) -> Any:
        if isinstance(input, Tensor) and input.layout == torch.sparse_coo:
            if not self.sparse:
                raise ArgumentError.of("STDBlock", "a dense signal", "a sparse one", "make the block with sparse=True")
            return self._on_sites(*sites_of(input, self.in_channels, 4, "STDBlock"))
        self.expect(input, self.in_channels, 4)
        known = (input != 0).any(1) if self.sparse else None
        x = input
        for layers in self._rounds():
            space, time, fuse, *norms = layers
            parts = [_activated(norm, conv(x), known) for conv, norm in ((space, norms[0]), (time, norms[1]))]
            x = _activated(norms[2], fuse(torch.cat((*parts, x), 1)), known)
        return x if self.pool is None else (self.pool(x), x)

    def _rounds(self) -> Iterable[tuple[Any, ...]]:
        """Layers of the two rounds: spatial, temporal, fusing, and their norms."""
        return zip(self.space, self.time, self.fuse, self.space_norms, self.time_norms, self.fuse_norms, strict=True)

    def _on_sites(self, sites: Sites, values: Tensor) -> Any:
        """The same with rows of values (sites, channels)."""

        def activated(norm: Any, y: Tensor) -> Tensor:
            return nn.functional.leaky_relu(norm(y), SLOPE)

        for space, time, fuse, *norms in self._rounds():
            parts = [
                activated(norm, convolved(sites, values, conv.weight))
                for conv, norm in ((space, norms[0]), (time, norms[1]))
            ]
            values = activated(norms[2], torch.cat((*parts, values), 1) @ fuse.weight.flatten(1).T)
        y = sparse(sites, values)
        return y if self.pool is None else (sparse(*pooled(sites, values, self.pool.weight)), y)

    def definition(self, *inputs: Any) -> Any:
        (x,) = inputs
        known = (x != 0).any(1, keepdim=True).to(x.dtype) if self.sparse else torch.ones_like(x[:, :1])

        def conv(layer: Any, x: Tensor) -> Tensor:
            return conv_by_taps(x, layer.weight, None, layer.stride, layer.pads, (1,) * 4)

        def activated(norm: Any, y: Tensor) -> Tensor:
            column = (-1, 1, 1, 1, 1)
            y = (y - norm.running_mean.reshape(column)) / (norm.running_var + norm.eps).sqrt().reshape(column)
            y = y * norm.weight.reshape(column) + norm.bias.reshape(column)
            return known * torch.where(y > 0, y, SLOPE * y)

        for space, time, fuse, *norms in self._rounds():
            parts = activated(norms[0], conv(space, x)), activated(norms[1], conv(time, x)), x
            x = activated(norms[2], conv(fuse, torch.cat(parts, 1)))
        return x if self.pool is None else (conv(self.pool, x), x)

    def shapes(self, *inputs: Any) -> Any:
        batch, _, *sizes = inputs[0]
        whole = (batch, self.out_channels, *sizes)
        if self.windows is None:
            return whole
        return (batch, self.out_channels, *(n // w for n, w in zip(sizes, self.windows, strict=True))), whole

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({PER_SAMPLE})

    def parameter_count(self) -> int:
        count = sum(norm.num_features * 2 for norm in (*self.space_norms, *self.time_norms, *self.fuse_norms))
        return count + sum(self.weight_counts()) + (0 if self.pool is None else self.pool.weight.numel())

    def weight_counts(self) -> tuple[int, int]:
        """Weights of the convolutions of either round."""
        mid = self.mid_channels
        rounds = ((self.in_channels, mid), (mid, self.out_channels))
        first, second = ((27 + 3) * before * mid + (2 * mid + before) * after for before, after in rounds)
        return first, second

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"in_channels": 2, "mid_channels": 3, "out_channels": 2}, ((2, 2, 3, 2, 3, 2),))
        more = {"in_channels": 1, "mid_channels": 2, "out_channels": 2, "sparse": True}
        yield Example({**more, "pool": (2, 2, 1, 1)}, ((1, 1, 2, 3, 2, 2),))


def _activated(norm: Any, y: Tensor, known: Tensor | None) -> Tensor:
    """Norm and LeakyReLU of a dense signal; with `known` (batch, *n) at these sites only, and zero elsewhere."""
    if known is None or not norm.training:
        normed = norm(y.flatten(2)).unflatten(2, y.shape[2:])
    else:
        last = y.movedim(1, -1)
        normed = torch.zeros_like(last).index_put((known,), norm(last[known])).movedim(-1, 1)
    y = nn.functional.leaky_relu(normed, SLOPE)
    return y if known is None else y * known.unsqueeze(1).to(y.dtype)
