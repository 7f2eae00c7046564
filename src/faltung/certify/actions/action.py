"""The protocol of an action: its elements, what each does to an input, and what it should do to a result."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from faltung.nn.base import Symmetry


class Action:
    """What is done to an input, and what that should do to the result: the base to write one's own from.

    A subclass writes `apply` and `apply_output`, and `elements` or `sample`; an element may be anything that these understand.
    """

    name: str = ""
    whole: bool = False
    """Whether `difference` takes results as they come, tuples and lists too, rather than their first tensor."""
    together: bool = False
    """Whether an element moves all inputs of a model: every x here is then the tuple of them, and `apply` returns one."""

    def elements(self, x: Tensor) -> list[Any] | None:
        """All elements for an input like x but the identity, or None where they are not to be counted."""
        return None

    def sample(self, random: np.random.Generator, x: Tensor) -> Any:
        """An element for an input like x at random. Default: one of all."""
        known = self.elements(x)
        assert known, f"{type(self).__name__} has neither elements nor a sample"
        return known[random.integers(len(known))]

    def prepare(self, x: Tensor) -> Tensor:
        """The nearest input on which the elements act without loss. Default: x."""
        return x

    def apply(self, element: Any, x: Tensor) -> Tensor:
        """The input moved."""
        raise TypeError(f"{type(self).__name__} does not say how it moves an input")

    def apply_output(self, element: Any, y: Tensor, x: Tensor) -> Tensor | None:
        """The result of x, moved as the result of the moved x should be; None where nothing is said of such results.

        Default: results with as many axes as the input move like it, others stay.
        """
        return self.apply(element, y) if y.ndim == x.ndim else y

    def difference(self, element: Any, after: Tensor, before: Tensor, x: Tensor) -> Tensor | None:
        """For each sample the relative 2-norm of what the moved input's result is off; None where they do not compare."""
        wanted = self.apply_output(element, before, x)
        return None if wanted is None or wanted.shape != after.shape else relative(after, wanted)

    def inside(self, element: Any) -> bool:
        """Whether it says what becomes of the results of steps inside a model. Default: yes."""
        return True

    def interpolation(self, element: Any, x: Tensor) -> float:
        """What moving there and back loses of the input, relative: 0 for elements that only move addresses."""
        return 0.0

    def words(self, element: Any) -> str:
        """The element for people."""
        return str(element)


class Declared(Action):
    """What a layer declares of itself, `faltung.nn.Symmetry`, as an action: an element for each. The contract suite checks them so.

    Results are compared whole: every tensor of a tuple or list of them.

    Example:
        >>> from faltung.nn.base import rolled
        >>> Declared(rolled(1, 2), rolled(2, 2)).name
        'shift by 1, shift by 2'
    """

    whole = True
    together = True

    def __init__(self, *symmetries: Symmetry) -> None:
        self.name, self.symmetries = ", ".join(s.name for s in symmetries), symmetries

    def elements(self, x: Any) -> list[Any]:
        return list(self.symmetries)

    def apply(self, element: Symmetry, x: Any) -> Any:
        return element.moved(x)

    def apply_output(self, element: Symmetry, y: Any, x: Any) -> Any:
        return element.wanted(y)

    def difference(self, element: Symmetry, after: Any, before: Any, x: Any) -> Tensor | None:
        ours = pytree.tree_leaves(element.seen(after))
        wanted = pytree.tree_leaves(self.apply_output(element, before, x))
        if [y.shape for y in ours] != [y.shape for y in wanted]:
            return None
        off = [relative(y.reshape(1, -1), w.reshape(1, -1)) for y, w in zip(ours, wanted, strict=True) if y.numel()]
        return torch.cat(off) if off else torch.zeros(0)

    def inside(self, element: Symmetry) -> bool:
        return not element.together  # what belongs together is known of the layer's own result

    def words(self, element: Symmetry) -> str:
        return element.name


def relative(after: Tensor, wanted: Tensor) -> Tensor:
    """‖after − wanted‖₂ / ‖wanted‖₂ for each sample, in float64; of two zeros 0."""
    wide = [t.to(t.dtype.to_complex() if t.is_complex() else t.dtype) for t in (after, wanted)]
    a, b = (t.reshape(len(t), -1).cdouble() if t.is_complex() else t.reshape(len(t), -1).double() for t in wide)
    off, size = (a - b).norm(dim=1), b.norm(dim=1)
    return (off / size.clamp(min=1e-300)).nan_to_num(nan=float("inf")) * (off != 0)
