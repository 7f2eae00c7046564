"""Layers with the structure of an algebra or a product: against torch's calls for the same results."""

from collections.abc import Iterable
from dataclasses import replace

import torch

from faltung import nn
from faltung.nn import functional
from operator_rows import Row


def rows() -> Iterable[Row]:
    """Inference in float32, or complex64."""
    off = torch.no_grad()
    for row in _rows():
        yield replace(row, ours=off(row.ours), peers={name: off(call) for name, call in row.peers.items()})


def _rows() -> Iterable[Row]:
    torch.manual_seed(0)
    for batch, channels, size, taps in ((8, 64, 32, 3), (4, 8, 64, 3), (8, 64, 32, 1), (1, 16, 64, 15)):
        yield _complex(batch, channels, size, taps)
    for algebra, n, batch, channels, size in (
        ("quaternion", 4, 8, 256, 16), ("quaternion", 4, 32, 512, 8), ("cyclic", 4, 8, 256, 16), ("dyadic", 8, 8, 256, 16),
    ):  # fmt: skip
        yield _hypercomplex(algebra, n, batch, channels, size)
    for batch in (1, 8):
        yield _separable(batch)
    for batch, size, window in ((8, 14, (4, 4)), (8, 28, (4, 4)), (8, 14, (8, 8))):
        yield _topological(batch, size, window)


def _complex(batch: int, channels: int, size: int, taps: int) -> Row:
    x, weight, pad = (
        _like(batch, channels, size, dtype=torch.complex64),
        _like(channels, channels, taps, dtype=torch.complex64),
        taps // 2,
    )
    small = x[:1, :1, :8, :8], weight[:1, :1, :1, :1]
    return Row(
        f"complex conv {channels}→{channels}, {taps}×{taps}, {batch}×{size}×{size}",
        lambda: functional.conv_complex(x, weight, padding=pad),
        {"torch complex conv2d": lambda: torch.conv2d(x, weight, padding=pad)},
        {"torch complex conv2d": 1.3},
        lambda: (functional.conv_complex(*small), torch.conv2d(*small)),
    )


def _hypercomplex(algebra: str, n: int, batch: int, channels: int, size: int) -> Row:
    layer = nn.PHConv(2, n, channels, channels, 3, padding=1, algebra=algebra, bias=False)
    x, kernel = _like(batch, channels, size), layer.kernel().detach()
    return Row(
        f"PHC {algebra} n={n}, {channels}→{channels}, 3×3, {batch}×{size}×{size}",
        lambda: layer(x),
        {"torch conv2d, H kept": lambda: torch.conv2d(x, kernel, padding=1),
         "torch conv2d, H made": lambda: torch.conv2d(x, layer.kernel(), padding=1)},
        {"torch conv2d, H made": 1.0},
        lambda: (layer(x[:1, :, :4, :4]), torch.conv2d(x[:1, :, :4, :4], kernel)),
    )  # fmt: skip


def _separable(batch: int) -> Row:
    layer, x = nn.SeparableConv(2, 128, 256, 3, padding=1, bias=False), _like(batch, 128, 28)

    def two(x: torch.Tensor) -> torch.Tensor:
        return torch.conv2d(torch.conv2d(x, layer.depthwise, padding=1, groups=128), layer.pointwise)

    return Row(
        f"separable 128→256, 3×3, {batch}×28×28",
        lambda: layer(x),
        {"two calls of torch": lambda: two(x)},
        {"two calls of torch": 1.3},
        lambda: (layer(x[:1, :, :4, :4]), two(x[:1, :, :4, :4])),
    )


def _topological(batch: int, size: int, window: tuple[int, int]) -> Row:
    layer, x = nn.TopologicalLinear(256, (16, 16), window, bias=False), _like(batch, 256, size)
    dense = layer.matrix().detach()[:, :, None, None]
    return Row(
        f"topological 16×16, window {window[0]}×{window[1]}, {batch}×{size}×{size}",
        lambda: layer(x),
        {"torch conv2d, masked weights": lambda: torch.conv2d(x, dense)},
        {"torch conv2d, masked weights": 1.5},
        lambda: (layer(x[:1, :, :2, :2]), torch.conv2d(x[:1, :, :2, :2], dense)),
    )


def _like(first: int, second: int, size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(first, second, size, size, dtype=dtype)
