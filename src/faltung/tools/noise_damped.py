"""Guidance whose noise comes from the model as it was trained, and whose direction from a modified one."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from faltung.errors import DtypeError


def noise_damped(plain: Callable, modified: Callable, scale: float) -> Callable:
    """A guided model from a trained one and the same one with changed convolutions.

    Formula: `ε(x, c) = plain(x, ∅) + scale · (modified(x, c) − modified(x, ∅))`. The plain model removes noise as it learnt to; the
    modified one, good at structure and poor at noise, enters by a difference only.

    Args:
        plain, modified: called with (x, condition, ...). `redilate(model, ...)` is such a modified model, so none is copied.
        scale: of the guidance; 1 is none.

    Returns:
        A function of (x, condition, nothing=None, ...), `nothing` being the empty condition; all further arguments are passed on.

    Raises:
        DtypeError: something that cannot be called.

    Cost: three calls of the model.

    Source: He, Yang et al., ScaleCrafter: tuning-free higher-resolution visual generation with diffusion models (2024).

    Example:
        >>> noise_damped(lambda x, c: x, lambda x, c: 2 * x * c, scale=3)(torch.ones(1), 1, 0)
        tensor([7.])
    """
    for name, model in (("plain", plain), ("modified", modified)):
        if not callable(model):
            raise DtypeError.of("noise_damped", f"{name} as a model", type(model).__name__, "pass what can be called")

    def guided(x: Tensor, condition: Any, nothing: Any = None, *more: Any, **options: Any) -> Tensor:
        towards = modified(x, condition, *more, **options) - modified(x, nothing, *more, **options)
        return plain(x, nothing, *more, **options) + scale * towards

    return guided
