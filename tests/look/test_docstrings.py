"""The examples in the docstrings of both rooms give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

import faltung

ROOT = Path(faltung.__file__).parent
MODULES = sorted(
    f"faltung.{room}.{p.stem}"
    for room in ("readers", "look")
    for p in (ROOT / room).glob("*.py")
    if p.stem != "__init__"
)


@pytest.mark.parametrize("name", [*MODULES, "faltung.readers"])
def test_examples(name):
    import numpy
    import torch

    found = doctest.testmod(importlib.import_module(name), extraglobs={"nn": torch.nn, "torch": torch, "np": numpy})
    assert found.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    count = sum(bool(t.examples) for m in MODULES for t in finder.find(importlib.import_module(m)))
    assert count >= 8
