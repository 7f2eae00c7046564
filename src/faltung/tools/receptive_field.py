"""What a result depends on, and how much: the effective receptive field of a model, and how far it reaches."""

from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError


def receptive_field(model: nn.Module, inputs: Any, at: tuple[int, ...] | None = None) -> Tensor:
    """How much one place of a model's result moves with each place of its input, on average over samples and channels.

    Formula: `R[p] = mean over b of Σ_i |∂(Σ_o y[b, o, at]) / ∂x[b, i, p]|`, divided by its largest value: 1 where the result moves
    most, 0 where it does not depend on the input. The model is called in evaluation mode and left as it was.

    Shapes: the first input (batch, channels, *n), the result (batch, channels, *m) with as many spatial axes; returns (*n).

    Args:
        model: any torch module whose samples do not depend on each other.
        inputs: a tensor, or a tuple of all arguments. Typical signals: where there are rectifiers, noise shows more than zeros do.
        at: the place of the result, one index for each spatial axis. Default: the middle one, `m // 2`.

    Raises:
        DtypeError: inputs or results that are no tensors of real numbers.   ArgumentError: a place outside the result.

    Cost: one call of the model and one gradient.
    Source: Luo, Li, Urtasun and Zemel, Understanding the effective receptive field in deep convolutional neural networks (2016).

    Example:
        >>> receptive_field(nn.Conv1d(1, 1, 3, padding=1), torch.randn(8, 1, 7)).count_nonzero()
        tensor(3)
    """
    first, *rest = inputs if isinstance(inputs, tuple) else (inputs,)
    if not isinstance(first, Tensor) or not first.is_floating_point() or first.ndim < 3:
        came = f"shape {tuple(first.shape)} of {first.dtype}" if isinstance(first, Tensor) else type(first).__name__
        raise DtypeError.of("receptive_field", "a real tensor (batch, channels, *n)", came, "pass a batch of signals")
    modes = {module: module.training for module in model.modules()}
    x = first.detach().clone().requires_grad_()
    try:
        y = model.eval()(x, *rest)
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not isinstance(y, Tensor) or not y.is_floating_point() or y.ndim != first.ndim:
        came = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise DtypeError.of(
            "receptive_field", f"a result with {first.ndim} axes", came, "wrap the model so that it gives one"
        )
    sizes = y.shape[2:]
    place = tuple(n // 2 for n in sizes) if at is None else tuple(at)
    if len(place) != len(sizes) or not all(0 <= p < n for p, n in zip(place, sizes, strict=True)):
        raise ArgumentError.of(
            "receptive_field",
            f"one index for each of the sizes {tuple(sizes)}",
            repr(at),
            "leave it out for the middle",
        )
    (moved,) = torch.autograd.grad(y[(slice(None), slice(None), *place)].sum(), x)
    field = moved.abs().sum(1).mean(0)
    return field / field.max().clamp(min=torch.finfo(field.dtype).tiny)


def extent(field: Tensor, share: float = 0.5) -> int:
    """The side of the smallest cube around the largest value of a receptive field that holds that share of its sum.

    Shapes: field (*n) from `receptive_field`; the cube has an odd side and is cut off at the borders.

    Args:
        share: above 0, at most 1. Default 0.5. Ding et al. (2022) compare networks by it.

    Raises:
        ArgumentError: another share, or a field that is zero everywhere.

    Example:
        >>> extent(torch.tensor([0.0, 0.5, 1.0, 0.5, 0.0]), 0.9)
        3
    """
    total = field.sum().item()
    if not 0 < share <= 1 or not total > 0:
        raise ArgumentError.of(
            "extent", "a share above 0, at most 1, of a field that is not zero", f"{share} of {total}", "use 0.5"
        )
    centre = torch.unravel_index(field.argmax(), field.shape)
    lines = [(torch.arange(n, device=field.device) - c).abs() for n, c in zip(field.shape, centre, strict=True)]
    grid = torch.stack(torch.meshgrid(*lines, indexing="ij")).amax(
        0
    )  # distance from the middle in the largest coordinate
    held = torch.zeros(int(grid.max()) + 1, dtype=torch.float64, device=field.device)
    held = held.index_add(0, grid.flatten(), field.flatten().double()).cumsum(0)
    enough = held >= share * held[-1] * (1 - 1e-12)
    return 2 * int(enough.nonzero()[0]) + 1
