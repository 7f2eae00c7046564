"""Rows of `benchmarks/operators.py`: one module a family, each with `rows()`."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Row:
    """One comparison: our call, the peers' calls (same result), the ratio asked for, and a small call that loads the libraries."""

    label: str
    ours: Callable
    peers: dict[str, Callable]
    targets: dict[str, float] = field(default_factory=dict)
    warm: Callable = lambda: None
    tolerance: float = 1e-4

    def agree(self, results: dict) -> None:
        """Refuse to compare calls that compute different things."""
        ours = results["ours"]
        for name in self.peers:
            error = (ours - results[name]).abs().max() / results[name].abs().max()
            assert error <= self.tolerance, f"{self.label}: {name} differs by {error:.1e}"
