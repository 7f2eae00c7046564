"""Every example in the docstrings of the room runs and prints what it says; its names are found, whatever was imported before."""

import doctest
import importlib
import pkgutil

import pytest

import faltung.certify
from faltung.certify.actions import NAMED
from faltung.filters import symbol

MODULES = [f"faltung.certify.{found.name}" for found in pkgutil.iter_modules(faltung.certify.__path__)] + [
    symbol.__name__
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0


def test_every_public_function_has_an_example():
    public = [getattr(faltung.certify, name) for name in faltung.certify.__all__]
    made = {"Bound", "Lipschitz", "OrthDefect"}  # results, shown by the functions that return them
    assert [v.__name__ for v in public if v.__name__ not in made and ">>>" not in v.__doc__] == []


def test_every_named_group_is_told():
    text = faltung.certify.equivariance.__doc__
    cyclic = {name for name in NAMED if name[0] in "CD" and name[1:].isdigit()}  # told as Cn and Dn
    assert {"Cn", "Dn"} | (set(NAMED) - cyclic) <= {part for part in text.split("`") if part}


def test_no_name_is_hidden_by_a_module_of_the_same_name():
    modules = {name.rpartition(".")[2] for name in MODULES}
    assert modules & set(faltung.certify.__all__) == set()


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="it offers"):
        faltung.certify.spectral_nrom  # noqa: B018
