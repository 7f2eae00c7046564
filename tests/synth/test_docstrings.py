"""Every example in a docstring of the room runs and prints what it says."""

import doctest
import importlib
import pkgutil

import pytest

import faltung.synth

MODULES = [f"faltung.synth.{found.name}" for found in pkgutil.iter_modules(faltung.synth.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0
