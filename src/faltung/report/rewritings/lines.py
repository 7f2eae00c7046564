"""Convolutions over a plane as two passes along its axes, where their filters are products of lines."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faltung.report.rewritings.place import SMALL, free, named, put, sentence

if TYPE_CHECKING:
    from faltung.report.report import Report


@dataclass(frozen=True)
class Parts:
    """The kernels of two passes.

    Fields: rows (outputs of the first pass, its inputs by group, kw).   columns (out, inputs of the second pass by group, kh).
        paired: whether the first has one output for each pair of input and output, inputs outermost.
    """

    rows: Any
    columns: Any
    paired: bool

    @property
    def products(self) -> int:
        """Multiplications of both passes for one result of each channel."""
        return int(self.rows.numel() + self.columns.numel())


def in_lines(model: Any, report: "Report") -> tuple[Any, str]:
    """Layers whose filters are products of lines become a pass along the rows and one along the columns.

    Formula, two ways, of which the one with fewer products is taken: `K[o, i, y, x] = Σ_r A[o, r, y] B[r, i, x]`, by the singular
    value decomposition of each group's matrix (out · kh, in · kw), of its exact rank; or `K[o, i, y, x] = u[o, i, y] v[o, i, x]`,
    by one pass of all pairs and one that sums them. A layer for which neither has fewer products stays.

    Error: singular values below 1e-6 of the layer's largest count as zero.
    Cost: one decomposition for each group, or for each filter.
    """
    from torch import nn

    from faltung.readers import read

    names, left, done = named(report, "E5"), {}, 0
    layers = free(model, read(model, report.example))
    for name in names:
        layer = layers.get(name)
        if layer is None or type(layer) is not nn.Conv2d or isinstance(layer.padding, str):
            left[name] = "no plain layer of two axes"
            continue
        ways = [parts for parts in (through_ranks(layer), through_pairs(layer)) if parts is not None]
        best = min(ways, key=lambda parts: parts.products, default=None)
        if best is None or best.products >= layer.weight.numel():
            left[name] = "two passes would not have fewer products"
            continue
        put(model, name, passes(layer, best))
        done += 1
    return model, sentence(done, len(names), "layers in two passes", left)


def through_ranks(layer: Any) -> Parts | None:
    """Rows (groups · R, in / groups, kw) and columns (out, R, kh) of the smallest R that is enough for every group."""
    import torch

    out, into, kh, kw = layer.weight.shape
    grouped = layer.weight.detach().double().reshape(layer.groups, out // layer.groups, into, kh, kw)
    matrices = grouped.permute(0, 1, 3, 2, 4).reshape(layer.groups, -1, into * kw)
    u, s, v = torch.linalg.svd(matrices, full_matrices=False)
    if not bool(s.any()):
        return None
    rank = int((s > SMALL * s.max()).sum(1).max())
    root = s[:, :rank].sqrt()
    rows = (root[:, :, None] * v[:, :rank]).reshape(layer.groups * rank, into, kw)
    columns = (u[:, :, :rank] * root[:, None]).reshape(out, kh, rank).transpose(1, 2)
    return Parts(rows, columns, False)


def through_pairs(layer: Any) -> Parts | None:
    """Rows (in · out, 1, kw), inputs outermost, and columns (out, in, kh); None for filters of a higher rank, or groups."""
    import torch

    if layer.groups != 1:
        return None
    u, s, v = torch.linalg.svd(layer.weight.detach().double(), full_matrices=False)
    if s.shape[-1] > 1 and bool((s[..., 1:] > SMALL * s.max()).any()):
        return None
    root = s[..., 0].sqrt()
    rows = (root[..., None] * v[..., 0, :]).transpose(0, 1).reshape(-1, 1, layer.weight.shape[3])
    return Parts(rows, u[..., 0] * root[..., None], True)


def passes(layer: Any, parts: Parts) -> Any:
    """The two layers in turn, with the settings of the one whose place they take."""
    from torch import nn

    rows, columns, paired = parts.rows, parts.columns, parts.paired
    into, out = layer.in_channels, layer.out_channels
    made = []
    for axis, (shape, groups) in enumerate((
        ((into, rows.shape[0]), into if paired else layer.groups),
        ((rows.shape[0], out), out if paired else layer.groups),
    )):  # fmt: skip
        own = 1 - axis  # the first pass runs along the rows, the last axis

        def along(values: Any, other: int, own: int = own) -> tuple[int, int]:
            return (values[0], other) if own == 0 else (other, values[1])

        made.append(
            nn.Conv2d(
                *shape, along(layer.kernel_size, 1), along(layer.stride, 1), along(layer.padding, 0),
                along(layer.dilation, 1), groups, bias=axis == 1 and layer.bias is not None, padding_mode=layer.padding_mode,
                device=layer.weight.device, dtype=layer.weight.dtype,
            )
        )  # fmt: skip
    for one, taps in zip(made, (rows[:, :, None, :], columns[..., None]), strict=True):
        one.weight = nn.Parameter(taps.to(layer.weight.dtype))
    if layer.bias is not None:
        made[1].bias = layer.bias
    between = [nn.ChannelShuffle(into)] if paired else []  # from inputs outermost to outputs outermost
    return nn.Sequential(made[0], *between, made[1]).train(layer.training)
