"""GroupSamples: the elements of a matrix group on which features are sampled, shared by the layers of a network."""

from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn.lie.groups import ROTATIONS, Affine, MatrixGroup

WEIGHTS = ("mean", "haar")


class GroupSamples(nn.Module):
    """Elements of a group, what the layers need of them, and when they are drawn anew.

    Layers that follow one another must mean the same elements: the values that one makes are those the next one sums over. So one
    object is drawn once and shared; `g⁻¹g̃` and its coordinates are computed once for all layers.

    Args:
        group: a `GLPlus`, `SL` or `SO`.   count: elements, at least 1. Default 10.
        spread: variance of the stretch's coordinates. Default 0.1.
        rotations: "equidistant" (default), "turned" or "random", see `MatrixGroup.sample`.
        weights: of the sum over elements. "mean": 1 / count, as published; "haar": the invariant measure's density over that of the
            samples, over count, so that the sum estimates the integral over the group.
        seed: of the elements in evaluation mode, which are the same in every call. Default 0.
        fresh: whether `LieLiftConv` draws anew in every call in training mode, as published. Default True.
        device, dtype: of the numbers that layers read. Default: torch's.

    Raises:
        ArgumentError: other settings.

    Error: a sum over count elements is off its mean by about 1/√count; with "turned" or "random" rotations its mean is the
    integral, with equidistant ones up to frequencies of the angle of count and more.

    Example:
        >>> GroupSamples(SL(2), 10).elements.shape
        torch.Size([10, 2, 2])
    """

    def __init__(
        self,
        group: MatrixGroup,
        count: int = 10,
        spread: float = 0.1,
        rotations: str = "equidistant",
        weights: str = "mean",
        seed: int = 0,
        fresh: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if isinstance(group, Affine):
            group = group.linear
        if not isinstance(group, MatrixGroup):
            raise ArgumentError.of("GroupSamples", "a group of matrices", repr(group), "write SL(2), say")
        if weights not in WEIGHTS or rotations not in ROTATIONS:
            raise ArgumentError.of(
                "GroupSamples", f"weights among {', '.join(WEIGHTS)}, rotations among {', '.join(ROTATIONS)}",
                f"{weights!r}, {rotations!r}", "choose among these",
            )  # fmt: skip
        if weights == "haar" and not spread > 0:
            raise ArgumentError.of("GroupSamples", "a spread above 0 for weights 'haar'", repr(spread), "use 0.1")
        self.group, self.count, self.spread = group, count, float(spread)
        self.rotations, self.weights, self.seed, self.fresh = rotations, weights, int(seed), bool(fresh)
        kind = {"device": device, "dtype": dtype or torch.get_default_dtype()}
        generator = torch.Generator().manual_seed(self.seed)
        for name, value in self._facts(self._elements(generator)).items():
            for when in ("fixed", "drawn"):
                own = value.to(**kind, copy=True, memory_format=torch.contiguous_format)
                self.register_buffer(f"{when}_{name}", own, persistent=False)

    def _elements(self, generator: torch.Generator | None) -> Tensor:
        return self.group.sample(self.count, self.spread, self.rotations, generator)

    def _facts(self, g: Tensor) -> dict[str, Tensor]:
        """The elements, their inverses, the coordinates of all g⁻¹g̃, |det g|⁻¹ and the shares, in float64."""
        inverses = torch.linalg.inv(g)
        shares = torch.full((self.count,), 1 / self.count, dtype=torch.float64)
        if self.weights == "haar":
            own = self.group.log(g)
            shares = shares * self.group.haar_stretch(own) / self.group.density(own, self.spread)
        return {
            "elements": g,
            "inverses": inverses,
            "relative": self.group.log(inverses[:, None] @ g[None]),
            "shrink": 1 / torch.linalg.det(g).abs(),
            "shares": shares,
        }

    def _set(self, when: str, elements: Tensor) -> None:
        for name, value in self._facts(elements).items():
            own = value.to(getattr(self, f"{when}_{name}"), memory_format=torch.contiguous_format)
            setattr(self, f"{when}_{name}", own)  # not in place: a graph may still need the old ones

    @torch.no_grad()
    def draw(self, generator: torch.Generator | None = None) -> None:
        """Take new elements for training mode, by torch's random numbers or those of a generator."""
        self._set("drawn", self._elements(generator))

    @torch.no_grad()
    def use(self, elements: Tensor) -> None:
        """Take these elements (count, n, n) in both modes, a subgroup's say; a state dict does not keep them.

        Raises:
            ArgumentError: another shape, or a determinant that is not positive.
        """
        shape = (self.count, self.group.n, self.group.n)
        if tuple(elements.shape) != shape or not bool((torch.linalg.det(elements.double()) > 0).all()):
            raise ArgumentError.of(
                "GroupSamples.use", f"elements {shape} with positive determinants", f"shape {tuple(elements.shape)}", "correct them"
            )  # fmt: skip
        for when in ("fixed", "drawn"):
            self._set(when, elements.double().cpu())

    def read(self, name: str) -> Tensor:
        """The numbers of that name: drawn ones in training mode, where `fresh`, else fixed ones."""
        return getattr(self, f"{'drawn' if self.training and self.fresh else 'fixed'}_{name}")

    @property
    def elements(self) -> Tensor:
        """The elements (count, n, n) in the present mode."""
        return self.read("elements")

    def __repr__(self) -> str:
        usual = {"count": 10, "spread": 0.1, "rotations": "equidistant", "weights": "mean", "seed": 0, "fresh": True}
        words = [f"{name}={getattr(self, name)!r}" for name, value in usual.items() if getattr(self, name) != value]
        if self.fixed_elements.dtype != torch.get_default_dtype():
            words.append(f"dtype={self.fixed_elements.dtype}")
        return f"GroupSamples({', '.join([repr(self.group), *words])})"


def quarter_turns(samples: GroupSamples) -> int | None:
    """By how many places a quarter turn moves the samples of evaluation mode, None where it does not map them to themselves."""
    plane = samples.group.n == 2 and not len(samples.group.symmetric)
    whole = samples.rotations == "equidistant" and samples.count % 4 == 0
    return samples.count // 4 if plane and whole else None
