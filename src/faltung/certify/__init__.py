"""Guarantees about networks: bounds that no input exceeds, radii in which no input changes a decision.

One subject a file, one line here. Names load when they are first used; they need torch.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "Band": "faltung.certify.bank",
    "Bank": "faltung.certify.bank",
    "Bound": "faltung.certify.bound",
    "Lipschitz": "faltung.certify.network",
    "OrthDefect": "faltung.certify.orthogonal",
    "Scattering1d": "faltung.certify.scattering",
    "Scattering2d": "faltung.certify.scattering",
    "Scattering3d": "faltung.certify.scattering_solid",
    "SpectralRescale": "faltung.certify.rescale",
    "admissible": "faltung.certify.frames",
    "can_be_orthogonal": "faltung.certify.orthogonal",
    "equivariance": "faltung.certify.moved",
    "filter_orth_penalty": "faltung.certify.penalties",
    "gram_bound": "faltung.certify.gram",
    "interval": "faltung.certify.reach",
    "l_orth": "faltung.certify.orthogonal",
    "lipschitz": "faltung.certify.network",
    "lipschitz_penalty": "faltung.certify.penalties",
    "local_lipschitz": "faltung.certify.local",
    "orth_penalty": "faltung.certify.penalties",
    "orthogonality": "faltung.certify.orthogonal",
    "radius": "faltung.certify.margins",
    "spectral_norm": "faltung.certify.norms",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'faltung.certify' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
