"""Any model made equivariant or invariant under a finite group of turns and mirrors, by averaging over it."""

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn.symmetry import act, grid_group


class Symmetrised(nn.Module):
    """What `symmetrise` returns: the model within, called once for each element."""

    def __init__(self, model: nn.Module, group: str, ndim: int, invariant: bool) -> None:
        super().__init__()
        self.model, self.group, self.ndim, self.invariant = model, group, ndim, invariant
        self.acting = grid_group(group, ndim)

    def forward(self, input: Tensor) -> Tensor:
        table = self.acting.group.inverses
        results = []
        for g in range(self.acting.order):
            y = self.model(act(input, self.acting, g))
            results.append(y if self.invariant else act(y, self.acting, int(table[g])))
        return torch.stack(results).mean(0)


def symmetrise(model: nn.Module, group: str = "p4", ndim: int = 2, invariant: bool = False) -> Symmetrised:
    """The mean of a model over a finite group, which commutes with the group whatever the model is (the Reynolds operator).

    Formula: `(1/|G|) Σ over g of g⁻¹·model(g·x)`; for answers that are no images `(1/|G|) Σ model(g·x)`.

    Args:
        model: called with images (batch, channels, *n); kept, not copied, and trained through.
        group: an exact group of square grids, see `faltung.nn.symmetry.grid_group`.   ndim: spatial axes. Default 2.
        invariant: whether answers are numbers that should not change, rather than images that should move along.

    Raises:
        DtypeError: no module.   ArgumentError: a group whose elements do not map the grid to itself.

    Cost: |G| calls of the model.
    Source: Murphy et al., Janossy pooling (2019); Puny et al., Frame averaging for invariant and equivariant network design (2022).

    Example:
        >>> model = symmetrise(nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "p4m", invariant=True)
        >>> x = torch.randn(1, 1, 6, 6)
        >>> torch.allclose(model(x), model(x.flip(-1)), atol=1e-6)
        True
    """
    if not isinstance(model, nn.Module):
        raise DtypeError.of("symmetrise", "a torch module", type(model).__name__, "wrap the function in a module")
    acting = grid_group(group, ndim)
    if not acting.exact or acting.hexagonal:
        raise ArgumentError.of(
            "symmetrise", "a group that maps square grids to themselves", repr(group), "choose p4m or a part of it"
        )
    return Symmetrised(model, group, ndim, invariant).train(model.training)
