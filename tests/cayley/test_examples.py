"""The examples in the docstrings give what they say."""

import doctest
import importlib
import pkgutil

import pytest

import faltung.cayley

MODULES = [m.name for m in pkgutil.iter_modules(faltung.cayley.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name):
    module = importlib.import_module(f"faltung.cayley.{name}")
    assert doctest.testmod(module).failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    count = sum(bool(t.examples) for m in MODULES for t in finder.find(importlib.import_module(f"faltung.cayley.{m}")))
    assert count >= 15
