"""Every example in a docstring of the rooms for Gram matrices, special functions and transforms runs and prints what it says."""

import doctest
import importlib
import pkgutil

import pytest

import faltung.engine
import faltung.gram
import faltung.special

MODULES = [
    f"{room.__name__}.{found.name}"
    for room in (faltung.gram, faltung.special)
    for found in pkgutil.iter_modules(room.__path__)
] + ["faltung.engine.walsh"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0


def test_every_public_function_has_an_example():
    for room in (faltung.gram, faltung.special):
        public = [value for name, value in vars(room).items() if callable(value) and not name.startswith("_")]
        assert len(public) >= 3
        assert [f.__name__ for f in public if ">>>" not in f.__doc__] == []
