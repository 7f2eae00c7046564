"""Peers that need a hand to be imported."""

import warnings

import pytest
import scipy.special


@pytest.fixture
def peer():
    """What gives a class of kymatio.torch, with a name that it takes from SciPy and newer ones lack; skips where it is missing."""
    if not hasattr(scipy.special, "sph_harm"):
        scipy.special.sph_harm = lambda m, l, azimuth, polar: scipy.special.sph_harm_y(l, m, polar, azimuth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("kymatio.torch")
    return lambda name: getattr(module, name)
