"""The suites of the automaton kernels notice a tool that is wrong; examples in docstrings run."""

import doctest
from types import SimpleNamespace

import pytest

from faltung import language
from faltung.algebras import named
from faltung.kernels.automaton import on_numba
from faltung.language import tries
from faltung.testing import automaton_kernels as suite


def test_a_scan_that_stops_early_is_caught():
    def scan(symbol, label):
        kernel = on_numba.scan(symbol, label)
        return lambda x, c, t, at, start, stop, step, *rest: kernel(x, c, t, at, start, stop - step, step, *rest)

    with pytest.raises(AssertionError, match="scan of uint8"):
        suite.check_scanned(SimpleNamespace(scan=scan))


def test_a_search_that_forgets_the_edge_is_caught():
    def find(symbol, label):
        kernel = on_numba.find(symbol, label)
        return lambda *a: kernel(*a[:9], -2, *a[10:])

    with pytest.raises(AssertionError, match="find in"):
        suite.check_found(SimpleNamespace(find=find))


def test_weights_of_another_algebra_are_caught():
    tool = SimpleNamespace(weighed=lambda s, c, algebra, d: on_numba.weighed(s, c, named("min-plus"), d))
    with pytest.raises(AssertionError, match="weights over real"):
        suite.check_weighed(tool, 0, (named("real"),))


@pytest.mark.parametrize("module", [language, language.language, tries], ids=lambda m: m.__name__)
def test_examples_in_docstrings_run(module):
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0
