"""What trains and measures networks that commute with down-scaling: a head for all sizes, a loss for their order, the error."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.functional.waves import resample_ideal


class ScaleStack(nn.Module):
    """One head on features at several sizes: what a scale-equivariant network says of its input at each of them.

    Formula: `y_r = head(D_r x)`, D_r the ideal down-scaling to the frequencies up to r along every axis, 2r + 1 samples (an axis
    shorter than that stays as it is), for r = tops in ascending order. Behind layers that commute with D_r, y_r is the network's
    result for its input at that size.

    Shapes: input (batch, channels, *n), returns (batch, scales, ...), the head's results.

    Args:
        head: a module for inputs of any size: a mean over all places and a linear layer, say.
        tops: the r, at least 0.

    Raises:
        ArgumentError: no tops, or numbers below 0.

    Source: Rahman and Yeh, Truly scale-equivariant deep nets with Fourier layers (2023).

    Example:
        >>> head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
        >>> ScaleStack(head, (3, 5, 7))(torch.randn(2, 3, 15, 15)).shape
        torch.Size([2, 3, 10])
    """

    def __init__(self, head: nn.Module, tops: Sequence[int]) -> None:
        super().__init__()
        self.tops = tuple(sorted({functional.numbers("tops", top, 1, 0)[0] for top in tops}))
        if not self.tops:
            raise ArgumentError.of("ScaleStack", "at least one top", repr(tops), "name the sizes by their frequencies")
        self.head = head

    def forward(self, input: Tensor) -> Tensor:
        sizes = [tuple(min(n, 2 * top + 1) for n in input.shape[2:]) for top in self.tops]
        return torch.stack([self.head(resample_ideal(input, size)) for size in sizes], 1)


def scale_order_loss(losses: Tensor, weight: float = 1e-3) -> Tensor:
    """How much worse a network is at a size than at the next smaller one: more samples should not make it less sure.

    Formula: `weight·Σ over r of max(0, L_r − L_(r−1))`, losses in ascending order of size.

    Shapes: losses (..., scales), returns a scalar: the mean over the axes before.

    Args:
        weight: at least 0. Default 1e-3, the published one.

    Raises:
        ArgumentError: no axis of scales, a weight below 0.

    Source: Rahman and Yeh, Truly scale-equivariant deep nets with Fourier layers (2023).

    Example:
        >>> scale_order_loss(torch.tensor([3.0, 1.0, 1.5, 1.25]), 1.0)
        tensor(0.5000)
    """
    if losses.ndim < 1 or not losses.shape[-1] or not weight >= 0:
        raise ArgumentError.of(
            "scale_order_loss", "losses (..., scales) and a weight of at least 0", f"{tuple(losses.shape)}, {weight}",
            "stack the losses of all sizes",
        )  # fmt: skip
    return weight * losses.diff(dim=-1).clamp(min=0).sum(-1).mean()


@torch.no_grad()
def scale_equivariance_error(model: Callable[[Tensor], Tensor], x: Tensor, sizes: Sequence[int]) -> Tensor:
    """How far a model is from commuting with ideal down-scaling, for each sample: 0 for one that does.

    Formula: `‖D f(x) − f(D x)‖² / (‖D f(x)‖² + 1e-6)`, D to these sizes.

    Shapes: x (batch, channels, *n), the model's results (batch, channels', *n); returns (batch).

    Args:
        sizes: odd numbers are exact for layers that commute; one for each spatial axis.

    Raises:
        ArgumentError: sizes for other axes, results whose sizes are not those of the input.

    Source: Rahman and Yeh, Truly scale-equivariant deep nets with Fourier layers (2023).

    Example:
        >>> bool(scale_equivariance_error(torch.relu, torch.randn(1, 1, 31), [15]) > 1e-3)
        True
    """
    wanted, found = model(x), model(resample_ideal(x, sizes))
    if wanted.shape[2:] != x.shape[2:] or found.shape != (*wanted.shape[:2], *sizes):
        raise ArgumentError.of(
            "scale_equivariance_error", "a model that keeps sizes", f"{tuple(x.shape)} to {tuple(wanted.shape)}",
            "measure the part before its head",
        )  # fmt: skip
    wanted = resample_ideal(wanted, sizes)
    square = wanted.flatten(1).square().sum(1)
    return (wanted - found).flatten(1).square().sum(1) / (square + 1e-6)
