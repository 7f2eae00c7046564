"""Every layer keeps its contract: one check, one example, one test."""

import pytest
import torch

from faltung import nn
from faltung.testing import layers

CASES = layers.cases(nn.ALL)
FIRST = {case.kind: n for n, case in reversed(list(enumerate(CASES)))}
LONG = {
    "compiles",
    "exports",
    "trains",
}  # a second each: with every example in the slow suite, with the first in the quick one
PAIRS = [
    pytest.param(
        case,
        check,
        id=f"{check}-{n}-{case.kind.__name__}",
        marks=[pytest.mark.slow] if check in LONG and n != FIRST[case.kind] else [],
    )
    for n, case in enumerate(CASES)
    for check in layers.applicable(case)
]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),  # torch on its own internals
    pytest.mark.filterwarnings("ignore:.*autocast.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:Complex modules are a new feature:UserWarning"),
]


@pytest.mark.parametrize(("case", "check"), PAIRS)
def test_contract(case, check):
    layers.applicable(case)[check](case)


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.text)
def test_contract_on_the_gpu(case):
    layers.on_gpu(case)


def test_every_layer_says_what_it_is():
    for kind in nn.ALL:
        assert kind.name
        assert kind.summary
        assert kind.source
        assert kind.cost
        assert list(kind.examples())
    names = [kind.name for kind in nn.ALL]
    assert len(set(names)) == len(names)


def test_short_names_cover_the_dimensions():
    for kind in nn.ALL:
        for ndim in kind.dims:
            assert getattr(nn, f"{kind.__name__}{ndim}d").func is kind
    assert torch.is_tensor(nn.Conv3d(1, 1, 2)(torch.zeros(1, 1, 2, 2, 2)))
