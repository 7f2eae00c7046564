"""The bound of a layer's gain holds for the layer with its margin: against the norm of its matrix, whatever repeats samples."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import faltung.nn
from faltung.readers import read
from faltung.report import inspect
from faltung.report.margin import growth, margins
from faltung.report.section import Subject
from faltung.report.sections import spectrum

MODES = ("zeros", "reflect", "replicate", "circular")


def dense_norm(layer, x):
    """The largest singular value of the layer's matrix, in float64."""
    layer = layer.double()
    with torch.no_grad():
        units = torch.eye(x.numel(), dtype=torch.float64).reshape(-1, *x.shape[1:])
        matrix = (layer(units) - layer(torch.zeros_like(units[:1]))).flatten(1)
    layer.float()
    return torch.linalg.matrix_norm(matrix, 2).item()


def row(layer, x, level):
    (values,) = spectrum.fill(Subject(read(nn.Sequential(layer).eval(), x), level)).values()
    return values


@pytest.mark.parametrize("level", ["fast", "standard"])
@pytest.mark.parametrize(("mode", "repeated"), [("zeros", 1), ("reflect", 2), ("replicate", 3), ("circular", 1)])
def test_a_delta_at_the_edge_repeats_what_the_margin_holds(mode, repeated, level):
    """The layer moves its input by two places: all that it can add to a length is what its margin repeats."""
    layer, x = nn.Conv1d(1, 1, 5, padding=2, padding_mode=mode, bias=False), torch.zeros(1, 1, 12)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(5)[:1, None])
    found = row(layer, x, level)
    assert dense_norm(layer, x) == pytest.approx(math.sqrt(repeated))
    assert found["margin_gain"] == math.sqrt(repeated)
    assert found["sigma_lower"] <= 1 <= math.sqrt(repeated) <= found["sigma_upper"] < 1.05 * math.sqrt(repeated)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ours", [False, True], ids=["torch", "ours"])
@pytest.mark.parametrize("settings", [{}, {"stride": 2}, {"dilation": 2, "padding": 2}, {"groups": 2}], ids=str)
def test_no_signal_grows_beyond_the_bound(mode, ours, settings):
    torch.manual_seed(0)
    how = {"padding": 1, "padding_mode": mode, **settings}
    layer = faltung.nn.Conv(2, 2, 4, 3, **how) if ours else nn.Conv2d(2, 4, 3, **how)
    x = torch.zeros(1, 2, 6, 6)
    norm = dense_norm(layer, x)
    for level in ("fast", "standard"):
        found = row(layer, x, level)
        assert norm <= found["sigma_upper"]
        if mode in ("zeros", "circular"):
            assert found["margin_gain"] == 1
        if mode == "circular" and level == "standard":  # what the circle lacks of the supremum, and the tolerance
            assert found["sigma_upper"] < 1.2 * norm


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from((*MODES, "symmetric")),
    st.integers(3, 7), st.integers(1, 4), st.integers(0, 2), st.integers(1, 3), st.randoms(),
)  # fmt: skip
def test_small_signals_of_any_size(mode, n, taps, pad, stride, random):
    if n + 2 * pad < taps or (mode in ("reflect", "circular") and pad >= n):
        return
    torch.manual_seed(random.randrange(1000))
    layer = faltung.nn.Conv(1, 2, 2, taps, padding=pad, stride=stride, padding_mode=mode, bias=False)
    x = torch.zeros(1, 2, n)
    assert dense_norm(layer, x) <= row(layer, x, "fast")["sigma_upper"]


def test_a_signal_no_longer_than_its_margin_holds_more_copies():
    """Two samples, reflected by one: a b a b... of three read places the first is held twice; of one axis alone √2, not more."""
    layer = nn.Conv2d(1, 1, (1, 3), padding=(0, 2), padding_mode="reflect", bias=False)
    x = torch.zeros(1, 1, 4, 3)
    assert row(layer, x, "fast")["margin_gain"] == math.sqrt(3)  # c b a b c b a: b three times
    assert dense_norm(layer, x) <= row(layer, x, "fast")["sigma_upper"]


def test_margins_that_stand_apart_belong_to_what_reads_them():
    torch.manual_seed(0)
    model = nn.Sequential(nn.ReplicationPad2d((1, 2, 0, 0)), nn.Conv2d(1, 2, 3, padding=1)).eval()
    x = torch.zeros(1, 1, 6, 6)
    network = read(model, x)
    outer, own = margins(network, network["1"])
    assert (outer.pads, outer.mode, outer.size) == (((0, 0), (1, 2)), "replicate", (6, 6))
    assert (own.pads, own.mode, own.size) == (((1, 1), (1, 1)), "zeros", (6, 9))
    assert growth(network, network["1"]) == math.sqrt(3)
    assert dense_norm(model, x) <= inspect(model, x).layers["1"]["sigma_upper"]


def test_wide_layers_are_bounded_without_a_tight_norm():
    """Beyond some width the grid alone bounds a layer, at every level; the margin counts all the same."""
    torch.manual_seed(0)
    layer, x = nn.Conv1d(130, 130, 1, padding=2, padding_mode="replicate"), torch.zeros(1, 130, 8)
    found = row(layer, x, "standard")
    assert found["margin_gain"] == math.sqrt(3)
    assert dense_norm(layer, x) <= found["sigma_upper"]
    plain = row(nn.Conv1d(130, 130, 1, padding=2), x, "fast")
    assert plain["margin_gain"] == 1


def test_margins_nobody_knows_leave_the_bound_open(monkeypatch):
    from faltung.report import margin

    monkeypatch.delitem(margin.MODES, "reflect")
    found = row(nn.Conv1d(1, 1, 3, padding=1, padding_mode="reflect"), torch.zeros(1, 1, 8), "fast")
    assert found["sigma_upper"] is None
    assert found["sigma_lower"] > 0
