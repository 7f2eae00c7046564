"""Guarantees about networks: bounds that no input exceeds, radii in which no input changes a decision.

One subject a file, one line here. Names load when they are first used; they need torch.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "Bound": "faltung.certify.bound",
    "Lipschitz": "faltung.certify.lipschitz",
    "gram_bound": "faltung.certify.gram",
    "lipschitz": "faltung.certify.lipschitz",
    "radius": "faltung.certify.radius",
    "spectral_norm": "faltung.certify.spectral_norm",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'faltung.certify' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
