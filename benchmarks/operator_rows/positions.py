"""Learnt positions: kernels placed element by element against shares of all elements on all taps, written plainly in torch."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from faltung import nn
from operator_rows import Row


def naive(layer: nn.DCLSConv, x: Tensor | None) -> Tensor:
    """Every element's share of every tap as one tensor, (out, in, elements, rows, columns), and torch's convolution."""
    rows, columns = (torch.arange(t, dtype=torch.float32) for t in layer.kernel_size)
    across, along = (p[..., None, None] + t // 2 for p, t in zip(layer.positions, layer.kernel_size, strict=True))
    if layer.interpolation == "gauss":
        s, t = (w.abs()[..., None, None] + 0.27 for w in layer.widths)
        f = torch.exp(-0.5 * (((rows[:, None] - across) / s) ** 2 + ((columns - along) / t) ** 2))
        f = f / f.sum((-2, -1), keepdim=True)
    else:
        f = (1 - (rows[:, None] - across).abs()).relu() * (1 - (columns - along).abs()).relu()
    kernel = (layer.weight[..., None, None] * f).sum(2)
    return kernel if x is None else torch.conv2d(x, kernel, layer.bias, padding="same", groups=layer.groups)


def calls(layer: nn.DCLSConv, x: Tensor | None, backwards: bool) -> tuple[Callable, Callable]:
    """Ours and the naive one: the result, or the derivatives for positions."""

    def ours() -> Tensor:
        return layer.kernel() if x is None else layer(x)

    def made(call: Callable) -> Callable:
        def run() -> Tensor:
            if not backwards:
                with torch.no_grad():
                    return call()
            y = call()
            wanted = [p for p in layer.parameters() if x is not None or p is not layer.bias]
            return torch.autograd.grad(y, wanted, y.detach())[1]  # those of ½ Σ y²

        return run

    return made(ours), made(lambda: naive(layer, x))


def row(
    label: str, channels: int, groups: int, taps: int, count: int, size: tuple | None, backwards: bool, kind: str, target: float
) -> Row:  # fmt: skip
    """A layer with positions all over its window; size is the input's (batch, height, width), None for the kernel alone."""

    def layer(channels: int, groups: int) -> nn.DCLSConv:
        torch.manual_seed(0)
        made = nn.DCLSConv(2, channels, channels, count, taps, interpolation=kind, groups=groups)
        torch.nn.init.uniform_(made.positions, -(taps // 2), taps // 2)
        return made

    kept: dict[str, tuple[Callable, Callable]] = {}

    def call(which: int, small: bool = False) -> Tensor:
        # Made when first called: a row that is listed takes no memory.
        name = "small" if small else "large"
        if name not in kept:
            some = 2 if small else channels
            shape = None if size is None else (size[0], some, *((taps, taps) if small else size[1:]))
            kept[name] = calls(layer(some, min(groups, some)), None if shape is None else torch.randn(shape), backwards)
        return kept[name][which]()

    def warm() -> None:
        call(0, small=True)
        call(1, small=True)

    return Row(
        label, lambda: call(0), {"torch, all shares": lambda: call(1)}, {"torch, all shares": target}, warm, 2e-3
    )


def rows() -> Iterable[Row]:
    """Depthwise layers of ConvNeXt's sizes, dense ones, and the kernel of 512 by 512 channels alone."""
    for kind in ("gauss", "bilinear"):
        for channels, size in ((96, (2, 56, 56)), (384, (2, 14, 14))):
            for backwards in (False, True):
                what = f"dcls {kind} depthwise {channels}, 34 of 17×17, {size[0]}×{size[1]}×{size[2]}"
                label = what + (", derivatives" if backwards else "")
                yield row(label, channels, channels, 17, 34, size, backwards, kind, 1.0)
        label = f"dcls {kind} 128→128, 6 of 17×17, 1×28×28"
        yield row(label, 128, 1, 17, 6, (1, 28, 28), False, kind, 1.0)
        yield row(f"{label}, derivatives", 128, 1, 17, 6, (1, 28, 28), True, kind, 1.0)
        yield row(f"dcls {kind} 512→512, 6 of 9×9, the kernel and its derivatives", 512, 1, 9, 6, None, True, kind, 1.0)
    yield row("dcls gauss 512→512, 6 of 17×17, the kernel", 512, 1, 17, 6, None, False, "gauss", 1.0)
