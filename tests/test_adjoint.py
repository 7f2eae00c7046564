"""The gradient for a filter that is long along another axis than the last, which is computed with two axes exchanged."""

import pytest
import torch

from faltung.methods.adjoint import FILTER_GRADIENT
from faltung.nn import functional
from faltung.nn.functional.convolution import _problem
from faltung.nn.functional.definition import conv_by_taps

SETTINGS = [
    ((9, 1), {"padding": (4, 0), "groups": 4}),
    ((13, 2), {"padding": 3, "stride": (1, 2)}),
    ((2, 8, 1), {"padding": (1, 5, 0), "dilation": (1, 2, 3), "groups": 2}),
    ((12, 1, 2), {"padding": 2, "stride": (2, 1, 1)}),
    ((9, 1), {"padding": (6, 3), "padding_mode": "circular"}),
    ((1, 9), {"padding": (0, 4)}),
    ((7, 2), {"padding": (3, 1)}),
]


def long(taps, options):
    facts = tuple((shape, "float64", "cpu") for shape in ((2, 4, *[20] * len(taps)), (4, 4, *taps)))
    stated = _problem(*facts, options.get("stride", 1), options["padding"], 1, 1, "zeros")
    return FILTER_GRADIENT.long(stated)


@pytest.mark.parametrize(("taps", "options"), SETTINGS)
def test_filter_gradient_is_that_of_the_definition(taps, options):
    torch.manual_seed(0)
    x = torch.randn(2, 4, *(18, 20, 17)[: len(taps)], dtype=torch.float64)
    weight = torch.randn(4, 4 // options.get("groups", 1), *taps, dtype=torch.float64, requires_grad=True)
    y = functional.conv(x, weight, **options)
    cotangent = torch.randn_like(y)
    (got,) = torch.autograd.grad(y, weight, cotangent)
    ones = (1,) * len(taps)
    pads = functional.margins(options["padding"], 1, 1, taps)
    steps, spread = (options.get(name, ones) for name in ("stride", "dilation"))
    modes = options.get("groups", 1), options.get("padding_mode", "zeros")
    wanted = conv_by_taps(x, weight, None, steps, pads, spread, *modes)
    (wanted,) = torch.autograd.grad(wanted, weight, cotangent)
    torch.testing.assert_close(got, wanted, rtol=1e-11, atol=1e-11)


def test_axes_change_places_for_long_narrow_filters_only():
    found = [long(taps, {k: v for k, v in options.items() if k == "padding"}) for taps, options in SETTINGS]
    assert found == [-2, -2, -2, -3, -2, None, None]
