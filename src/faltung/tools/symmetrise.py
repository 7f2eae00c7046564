"""Any model made equivariant or invariant under a finite group, by averaging over it or by choosing one element for each input."""

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn.symmetry import act, grid_group


class Symmetrised(nn.Module):
    """What `symmetrise` returns: the model within, called once for each element, or once for each input."""

    def __init__(self, model: nn.Module, group: str, ndim: int, invariant: bool, frame: bool) -> None:
        super().__init__()
        self.model, self.group, self.ndim, self.invariant, self.frame = model, group, ndim, invariant, frame

    def elements(self, input: Tensor) -> Iterator[tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]]:
        """What each element does to images of this size, and what undoes it."""
        if self.group == "shift":
            axes = tuple(range(-self.ndim, 0))
            for t in itertools.product(*map(range, input.shape[-self.ndim :])):
                yield (
                    partial(torch.roll, shifts=t, dims=axes),
                    partial(torch.roll, shifts=tuple(-n for n in t), dims=axes),
                )
            return
        acting = grid_group(self.group, self.ndim)
        for g, back in enumerate(acting.group.inverses):
            yield partial(act, acting=acting, element=g), partial(act, acting=acting, element=int(back))

    def forward(self, input: Tensor) -> Tensor:
        if self.frame:
            return self._by_frames(input)
        results = []
        for there, back in self.elements(input):
            y = self.model(there(input))
            results.append(y if self.invariant else back(y))
        return torch.stack(results).mean(0)

    def _by_frames(self, input: Tensor) -> Tensor:
        """The model once, on the moved input whose key is largest: the same one for all inputs of an orbit."""
        moves = list(self.elements(input))
        moved = [there(input) for there, _ in moves]
        if any(x.shape != input.shape for x in moved):
            raise ArgumentError.of(
                "symmetrise",
                "one size for axes that turns exchange, with frame=True",
                f"{tuple(input.shape)}",
                "crop or pad them",
            )
        flat = torch.stack([x.detach().reshape(input.shape[0], math.prod(input.shape[1:])) for x in moved])
        weights = torch.rand(flat.shape[2], dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(
            flat.device
        )
        chosen = (flat.double() * weights).sum(2).argmax(0)  # (batch)
        samples = torch.arange(input.shape[0], device=input.device)
        y = self.model(torch.stack(moved)[chosen, samples])
        return y if self.invariant else torch.stack([back(y) for _, back in moves])[chosen, samples]


def symmetrise(
    model: nn.Module, group: str = "p4", ndim: int = 2, invariant: bool = False, frame: bool = False
) -> Symmetrised:
    """A model averaged over a finite group, so that it commutes with the group whatever it is (the Reynolds operator).

    Formula: `(1/|G|) Σ over g of g⁻¹·model(g·x)`; for answers that are no images `(1/|G|) Σ model(g·x)`. With `frame` the one
    element alone that brings x to the representative of its orbit, `g(x)⁻¹·model(g(x)·x)`: one call, and still exact.

    Args:
        model: called with images (batch, channels, *n); kept, not copied, and trained through.
        group: an exact group of square grids, see `faltung.nn.symmetry.grid_group`, or "shift" for all circular shifts.
        ndim: spatial axes. Default 2.
        frame: see above; where the input itself is symmetric, only invariant answers are exact, and derivatives jump where the
            representative changes. Axes that turns exchange are of one size then. Default False.
        invariant: whether answers are numbers that should not change, rather than images that should move along.

    Raises:
        DtypeError: no module.   ArgumentError: a group whose elements do not map the grid to itself.

    Cost: |G| calls of the model; with `frame` one, and |G| copies of the input.
    Source: Murphy et al., Janossy pooling (2019); Puny et al., Frame averaging for invariant and equivariant network design (2022).

    Example:
        >>> model = symmetrise(nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "p4m", invariant=True)
        >>> x = torch.randn(1, 1, 6, 6)
        >>> torch.allclose(model(x), model(x.flip(-1)), atol=1e-6)
        True
    """
    if not isinstance(model, nn.Module):
        raise DtypeError.of("symmetrise", "a torch module", type(model).__name__, "wrap the function in a module")
    acting = None if group == "shift" else grid_group(group, ndim)
    if acting is not None and (not acting.exact or acting.hexagonal):
        raise ArgumentError.of(
            "symmetrise", "a group that maps square grids to themselves", repr(group), "choose p4m or a part of it"
        )
    return Symmetrised(model, group, ndim, invariant, frame).train(model.training)
