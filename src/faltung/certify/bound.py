"""What a certificate is: two numbers between which the truth lies, how they were found, and what they hold for."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bound:
    """A quantity between `lower` and `upper`, both guaranteed.

    Fields:
        lower: no more than the quantity.   upper: no less; a tensor where a gradient was asked for, else a number.
        method: how the upper one was found.   certified_for: the inputs for which it holds, in words.
    """

    lower: float
    upper: Any
    method: str
    certified_for: str

    @property
    def gap(self) -> float:
        """How far apart they are, as a share of the upper one; 0 where both are 0."""
        upper = float(self)
        return 1 - self.lower / upper if upper > 0 else 0.0

    def __float__(self) -> float:
        return float(self.upper.detach() if hasattr(self.upper, "detach") else self.upper)

    def __repr__(self) -> str:
        ends = f"{self.lower:.6g} .. {float(self):.6g}"
        return f"Bound({ends}, gap {100 * self.gap:.2g} %, {self.method}, for {self.certified_for})"
