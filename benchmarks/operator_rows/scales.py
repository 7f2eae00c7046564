"""Convolution over places and scales against its dense kernel, and against the published composition in torch."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn

from faltung import nn as ours
from operator_rows import Row


def composed(layer: ours.ScaleConv, bank: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """As published: for each distance along the scales one convolution of all of them, with a group for each scale, summed."""
    count, size = layer.scales, layer.kernel_size
    fields = x.unflatten(1, (-1, count)).transpose(1, 2)
    filters = torch.einsum("oimf,sft->msoit", layer.weight.flatten(3), bank)
    found = torch.zeros(())
    for m, each in enumerate(filters):
        above = nn.functional.pad(fields[:, m:], (0, 0) * 3 + (0, m)).flatten(1, 2)
        weight = each.flatten(0, 1).unflatten(-1, size)
        found = found + nn.functional.conv2d(above, weight, padding="same", groups=count)
    return found.unflatten(1, (count, -1)).transpose(1, 2).flatten(1, 2)


def training(call: Callable[..., torch.Tensor], layer: ours.ScaleConv, x: torch.Tensor) -> torch.Tensor:
    """The gradient for x of the sum of squares, that of the weights with it."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(call(x).square().sum(), [x, layer.weight])[0]


def rows() -> Iterator[Row]:
    """Inference and training."""
    for neighbours, fields, size, batch in ((1, 16, 32, 8), (2, 16, 32, 8), (3, 16, 32, 8), (1, 64, 16, 2)):
        torch.manual_seed(0)
        layer = ours.ScaleConv2d(fields, fields, neighbours=neighbours, padding="same", bias=False)
        bank, frozen = layer.bank(), layer.freeze()
        x = torch.randn(batch, 4 * fields, size, size)
        label = f"scale-conv 17², 4 scales, {neighbours} neighbours, {fields} on {size}², batch {batch}"
        published = partial(composed, layer, bank)
        yield Row(
            label, torch.no_grad()(partial(layer, x)),
            {
                "dense, in torch": torch.no_grad()(partial(frozen, x)),
                "scale by scale, in torch": torch.no_grad()(partial(published, x)),
            },
            warm=torch.no_grad()(partial(layer, x)),
        )  # fmt: skip
        yield Row(
            f"{label}, training", partial(training, layer, layer, x),
            {"scale by scale, in torch": partial(training, published, layer, x)}, tolerance=1e-3,
        )  # fmt: skip
