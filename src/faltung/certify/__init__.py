"""Guarantees about networks: bounds that no input exceeds, symmetries that are kept. One subject a file, one line here.

Names load when they are first used; they need torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faltung.certify.equivariance import equivariance as equivariance
    from faltung.certify.equivariance import left_alone as left_alone

_HOME = {
    "actions": "faltung.certify.actions",
    "equivariance": "faltung.certify.equivariance",
    "left_alone": "faltung.certify.equivariance",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'faltung.certify' has no attribute {name!r}; it offers {', '.join(__all__)}")
    home = import_module(_HOME[name])
    value = getattr(home, name, home)
    globals()[name] = value
    return value


class _Room(ModuleType):
    """A package whose functions are not hidden by the files of the same name when these are imported first."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in _HOME):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Room
