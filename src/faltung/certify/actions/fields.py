"""Actions on fields: what stands at a place is mixed by an element too, and each step of a model says which fields it makes."""

import copy
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from faltung.certify.actions.action import Action, relative
from faltung.certify.steps import Step


class Kind:
    """What stands at one place: the base of kinds of fields. This one itself says nothing: such results are not compared.

    Kinds of images mix channels, those of clouds the numbers of a point; `fits` says whether a tensor can hold such fields.
    """

    plain = False
    """Whether elements leave the numbers at a place alone."""

    def fits(self, y: Tensor) -> bool:
        """Whether a tensor has the shape of such fields."""
        return False


UNKNOWN = Kind()


class FieldAction(Action):
    """An action that follows kinds of fields through a model: the base of those that turn images, volumes and clouds of points.

    A subclass writes `of_layer`, `turned` and `scalars`. What a step makes is its layer's to say; other steps pass on the kind of
    what they took where the result can hold it. The inputs' kinds are given, or those that the first layer takes.
    """

    given: tuple[Kind | None, ...] = ()
    out: Kind | None = None

    def of_layer(self, module: Any) -> tuple[tuple[Kind, ...], Kind] | None:
        """The kinds that a layer takes and the one that it makes, None for modules that know no fields."""
        return None

    def scalars(self, number: int) -> Kind:
        """The kind of an input, by its number, of which nobody says anything."""
        return UNKNOWN

    def turned(self, element: Any, y: Tensor, kind: Kind, x: Any) -> Tensor | None:
        """A result of that kind, moved; None where nothing is said of it."""
        return None

    def informed(self, steps: Sequence[Step], inputs: Sequence[Any]) -> Self:
        """The action with the kinds of all inputs, as given or as the layers take them that these steps call first."""
        known: list[Kind | None] = [*self.given, *[None] * (len(inputs) - len(self.given))]
        for step in steps:
            own = self.of_layer(step.module)
            for source, kind in zip(step.sources, own[0] if own else (), strict=False):
                if source is not None and source < 0 and known[-1 - source] is None:
                    known[-1 - source] = kind
        made = copy.copy(self)
        made.given = tuple(self.scalars(n) if kind is None else kind for n, kind in enumerate(known))
        return made

    def followed(self, steps: Sequence[Step]) -> list[tuple[list[Kind | None], Kind]]:
        """For each step the kinds of what it took, None for constants, and the one of its result."""
        found: list[tuple[list[Kind | None], Kind]] = []
        for step in steps:
            taken = [
                None if source is None else self.given[-1 - source] if source < 0 else found[source][1]
                for source in step.sources
            ]
            found.append((taken, self.made(step, taken)))
        return found

    def made(self, step: Step, taken: Sequence[Kind | None]) -> Kind:
        """The kind of a step's result: its layer's, else that of the first input with fields that the result can hold."""
        own = self.of_layer(step.module)
        if own is not None:
            return own[1]
        known = [kind for kind in taken if kind is not None]
        fields = [kind for kind in known if not kind.plain]
        for kind in fields:
            if kind.fits(step.result):
                return kind
        return self.joined(step, taken) or next((kind for kind in known if kind.plain), UNKNOWN)

    def joined(self, step: Step, taken: Sequence[Kind | None]) -> Kind | None:
        """The kind of a result that holds none of the fields that came in, None where nothing is to be said."""
        return None

    def of_result(self, model: Any, steps: Sequence[Step], result: Tensor) -> Kind:
        """The kind of the model's result: as given, its last layer's, or that of the step whose result it is."""
        if self.out is not None:
            return self.out
        own = self.of_layer(model)
        if own is not None:
            return own[1]
        kinds = self.followed(steps)
        for (_, kind), step in zip(reversed(kinds), reversed(steps), strict=True):
            if step.result.shape == result.shape and torch.equal(step.result, result):
                return kind
        before = (steps[-1].result,) if steps else ()
        last = Step("result", "", before, result, None, (len(steps) - 1,) if steps else (-1,))
        return self.made(last, [kinds[-1][1] if kinds else self.given[0]])

    def difference_of(self, element: Any, after: Tensor, before: Tensor, kind: Kind, x: Any) -> Tensor | None:
        """As `difference`, for results of that kind."""
        if kind.plain:
            return self.difference(element, after, before, x)
        wanted = self.turned(element, before, kind, x)
        return None if wanted is None or wanted.shape != after.shape else relative(after, wanted)
