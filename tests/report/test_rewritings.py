"""Rewritings that take layers' channels apart: each removes what it names, keeps the results, and leaves what it may not touch."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

import faltung.nn
from faltung.errors import VerificationError
from faltung.report import Finding, inspect
from faltung.report.sections import ALL

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def trained(model):
    """The model ready to run, with norms that do something."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                module.weight.normal_()
                module.bias.normal_()
    return model.eval()


def found(report):
    return {f.rule: [layer for layer, _ in f.where] for f in report.findings}


def claimed(report, rule, *layers):
    """The report as if these layers broke a rule: times, which some rules are about, are no law."""
    text = next(r for s in ALL for r in s.rules if r.id == rule)
    where = tuple((name, 2.0) for name in layers)
    made = Finding(rule, text.title, text.grade, text.expected, text.meaning, text.fix, where, text.rewrite)
    return replace(report, findings=(made,), checks={})


def fixed(model, rule, report=None):
    """(rewritten model, what was done), its results those of the model's and the model as it was."""
    state = copy.deepcopy(model.state_dict())
    report = report or inspect(model, X)
    better, (proof,) = report.fix(rule)
    with torch.no_grad():
        scale = model(X).abs().max().item()
        torch.testing.assert_close(better(X), model(X), atol=2e-6 * max(scale, 1), rtol=1e-5)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    return better, proof


# What stands between a layer and its reader, how channels of the first are read, and whether a constant that is not 0 may go.
TAILS = {
    "relu, zero margin": (lambda: (nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1)), False),
    "sigmoid, no margin": (lambda: (nn.Sigmoid(), nn.Conv2d(6, 4, 3)), True),
    "sigmoid, zero margin": (lambda: (nn.Sigmoid(), nn.Conv2d(6, 4, 3, padding=1)), False),
    "circular margin": (lambda: (nn.Conv2d(6, 4, 3, padding=1, padding_mode="circular"),), True),
    "norm": (lambda: (nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3, bias=False)), True),
    "transposed": (lambda: (nn.ReLU(), nn.ConvTranspose2d(6, 4, 3, 2)), False),
    "flattened": (lambda: (nn.GELU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(384, 5)), True),
    "pooled": (lambda: (nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)), True),
    "ours": (lambda: (nn.ReLU(), faltung.nn.Conv(2, 6, 4, 3)), True),
}


@pytest.mark.parametrize("first", ["plain", "transposed"])
@pytest.mark.parametrize("tail", TAILS)
def test_dead_outputs_go_and_their_constants_stay(tail, first):
    torch.manual_seed(0)
    make, keeps = TAILS[tail]
    layer = nn.Conv2d(3, 6, 3, padding=1) if first == "plain" else nn.ConvTranspose2d(3, 6, 3, padding=1)
    model = trained(nn.Sequential(layer, *make()))
    with torch.no_grad():
        layer.weight[(slice(None), [1, 4]) if first == "transposed" else [1, 4]] = 0
        layer.bias[1], layer.bias[4] = 0.7, -0.3
        if tail == "norm":
            model[1].bias[[1, 4]] = torch.tensor([0.9, 0.2])
            model[1].running_mean[[1, 4]] = layer.bias[[1, 4]]
    report = inspect(model, X)
    assert report.layers["0"]["dead_outputs"] == 2
    better, proof = fixed(model, "F5", report)
    # Behind a rectifier the output of -0.3 is 0, which margins of zeros cannot tell from a constant.
    gone = 2 if keeps else "relu" in tail or tail == "transposed"
    assert better[0].weight.shape[1 if first == "transposed" else 0] == 6 - gone
    assert (f"1 of 1 layers freed of dead outputs ({int(gone)} outputs)" in proof) == bool(gone)
    if gone == 2:
        assert "F5" not in found(inspect(better, X))


def test_outputs_that_a_norm_switches_off_go():
    torch.manual_seed(0)
    model = trained(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)))
    with torch.no_grad():
        model[1].weight[:3] = 0
    better, _ = fixed(model, "F5")
    assert better[0].out_channels == better[1].num_features == better[3].in_channels == 5


@pytest.mark.parametrize("spoil", ["small", "grouped", "seen twice", "shared norm"])
def test_what_is_not_surely_dead_stays(spoil):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 6, 3, groups=3 if spoil == "grouped" else 1), nn.Conv2d(6, 6, 3)
            self.norm = nn.BatchNorm2d(6)

        def forward(self, x):
            y = self.a(x)
            if spoil == "shared norm":
                return self.norm(self.b(self.norm(y)))
            return (self.b(y), y.mean()) if spoil == "seen twice" else self.b(y)

    torch.manual_seed(0)
    model = trained(Two())
    with torch.no_grad():
        model.a.weight[:2] *= 1e-4 if spoil == "small" else 0
    report = inspect(model, X)
    assert found(report)["F5"] == ["a"]
    better, (proof,) = report.fix("F5")
    assert "0 of 1" in proof
    assert "not a" in proof
    assert better.a.weight.shape == model.a.weight.shape


FACTORS = {
    "nothing between": ((), -1.5, 0.4, True),
    "mean": ((nn.AvgPool2d(2),), -1.5, 0.4, True),
    "rectifier": ((nn.ReLU(),), 1.5, 0, True),
    "rectifier, turned": ((nn.ReLU(),), -1.5, 0, False),
    "rectifier, moved": ((nn.ReLU(),), 1.5, 0.4, False),
    "largest of four": ((nn.LeakyReLU(0.1), nn.MaxPool2d(2)), 1.5, 0, True),
    "another function": ((nn.GELU(),), 1.0, 0, True),
    "another function, scaled": ((nn.GELU(),), 1.5, 0, False),
}


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("between", FACTORS)
def test_copies_are_merged_where_a_factor_passes(between, norm):
    torch.manual_seed(0)
    layers, factor, shift, goes = FACTORS[between]
    model = trained(
        nn.Sequential(nn.Conv2d(3, 6, 3), *([nn.BatchNorm2d(6)] if norm else []), *layers, nn.Conv2d(6, 4, 3))
    )
    with torch.no_grad():
        first, kept = model[0], model[1] if norm else None
        first.weight[4] = 2 * factor * first.weight[1]
        first.bias[4] = 2 * factor * first.bias[1] + (0 if norm else shift)
        if norm:  # the norm halves what the layer doubled, and what it takes off follows
            kept.weight[4] = kept.weight[1].abs() * kept.weight[1].sign() / 2
            kept.running_var[4] = kept.running_var[1]
            kept.running_mean[4] = 2 * factor * kept.running_mean[1]
            kept.bias[4] = factor * kept.bias[1] + shift
        else:
            first.weight[4] /= 2
            first.bias[4] = factor * first.bias[1] + shift
    report = inspect(model, X)
    assert found(report)["F4"] == ["0"]
    better, proof = fixed(model, "F4", report)
    assert better[0].out_channels == (5 if goes else 6)
    assert f"{int(goes)} of 1 layers freed of copies" in proof


def test_three_copies_leave_one():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1)).eval()
    with torch.no_grad():
        for j in (2, 3, 5):
            model[0].weight[j], model[0].bias[j] = j * model[0].weight[0], j * model[0].bias[0]
    better, proof = fixed(model, "F4")
    assert better[0].out_channels == better[2].in_channels == 3
    assert "(3 outputs)" in proof


PAIRS = {
    "1 × 1 before": (lambda: (nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 3)), (3, 3), 1),
    "1 × 1 behind": (lambda: (nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 4, 1, bias=False)), (3, 3), 2),
    "two of three taps": (lambda: (nn.Conv2d(3, 40, 3, padding=1), nn.Conv2d(40, 3, 3)), (5, 5), 1),
    "strides and gaps": (lambda: (nn.Conv2d(3, 40, 2, 2), nn.Conv2d(40, 3, 2, dilation=2)), (6, 6), 2),
    "margin of one tap": (lambda: (nn.Conv2d(3, 8, 1, bias=False), nn.Conv2d(8, 4, 3, padding=1)), (3, 3), 1),
    "lines": (lambda: (nn.Conv1d(16, 40, 3), nn.Conv1d(40, 2, 3, 2)), (5,), 2),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_are_multiplied(name):
    torch.manual_seed(0)
    make, taps, stride = PAIRS[name]
    model = nn.Sequential(
        *([nn.Flatten(1, 2), nn.Unflatten(1, (16, 3)), nn.Flatten(2)] if name == "lines" else []), *make()
    )
    x = X
    report = inspect(model.eval(), x)
    better, proof = fixed(model, "E4", report)
    merged = better[-1]
    assert merged.kernel_size == taps
    assert merged.stride == (stride,) * len(taps)
    assert isinstance(better[-2], nn.Identity)
    assert "1 of 1 pairs" in proof
    assert "E4" not in found(inspect(better, x))


def test_chains_of_three_become_one():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 2, 1)).eval()
    better, proof = fixed(model, "E4")
    assert [type(layer) for layer in better] == [nn.Identity, nn.Identity, nn.Conv2d]
    assert "2 of 2" in proof


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ((nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1)), "margin"),
        ((nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1)), "margin"),  # its bias
        ((nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)), "more multiplications"),
        ((nn.Conv2d(3, 3, 1, groups=3), nn.Conv2d(3, 4, 3)), "groups"),
        ((nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")), "margin"),
    ],
)
def test_pairs_that_are_no_convolution_stay(layers, why):
    torch.manual_seed(0)
    model = nn.Sequential(*layers).eval()
    report = inspect(model, X)
    if "E4" not in found(report):
        assert any(layer.padding_mode != "zeros" for layer in layers)  # a margin stands between
        return
    _, proof = fixed(model, "E4", report)
    assert "0 of 1" in proof
    assert why in proof


LINES = {
    "depthwise": lambda: nn.Conv2d(3, 3, 5, 2, 2, groups=3),
    "margins": lambda: nn.Conv2d(3, 6, (5, 3), padding=(2, 1), padding_mode="reflect"),
    "gaps": lambda: nn.Conv2d(3, 6, 5, dilation=(2, 1), bias=False),
    "groups": lambda: nn.Conv2d(3, 6, 5, groups=3, padding=1),
}


@pytest.mark.parametrize("shared", [False, True], ids=["pairs", "ranks"])
@pytest.mark.parametrize("name", LINES)
def test_products_of_lines_become_two_passes(name, shared):
    torch.manual_seed(0)
    layer = LINES[name]()
    out, into, kh, kw = layer.weight.shape
    with torch.no_grad():
        if shared:  # one line down for each output, one across for each input
            layer.weight.copy_(torch.randn(out, 1, kh, 1) * torch.randn(1, into, 1, kw))
        else:
            layer.weight.copy_(torch.randn(out, into, kh, 1) * torch.randn(out, into, 1, kw))
    model = nn.Sequential(layer, nn.ReLU()).eval()
    report = inspect(model, X)
    assert found(report)["E5"] == ["0"]
    better, proof = fixed(model, "E5", report)
    assert "1 of 1 layers in two passes" in proof
    assert sum(one.weight.numel() for one in better[0] if isinstance(one, nn.Conv2d)) < layer.weight.numel()
    assert {one.kernel_size for one in better[0] if isinstance(one, nn.Conv2d)} == {(1, kw), (kh, 1)}


def test_filters_that_are_nearly_lines_stay():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 6, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(6, 3, 3, 1) * torch.randn(6, 3, 1, 3) + 1e-3 * torch.randn(6, 3, 3, 3))
    _, proof = fixed(nn.Sequential(layer).eval(), "E5")
    assert "0 of 1" in proof
    assert "products" in proof


def test_faster_layers_are_put_in_place():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 4, 2, 2), nn.Conv2d(4, 4, 1)).eval()
    better, proof = fixed(model, "E2", claimed(inspect(model, X), "E2", "0", "2"))
    assert "2 of 2" in proof
    assert isinstance(better[0], faltung.nn.Conv)
    assert isinstance(better[2], faltung.nn.ConvTranspose)
    assert type(better[3]) is nn.Conv2d


def test_all_that_keep_the_results_one_after_the_other():
    torch.manual_seed(0)
    model = trained(nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 3), nn.ReLU(),
        nn.Conv2d(4, 4, 5, groups=4),
    ))  # fmt: skip
    with torch.no_grad():
        model[1].weight[:2] = 0
        model[0].weight[5] = model[0].weight[4]
        model[6].weight.copy_(torch.randn(4, 1, 5, 1) * torch.randn(4, 1, 1, 5))
    report = inspect(model, X)
    assert {"E3", "F5", "E4", "E5"} <= set(found(report))
    better, proofs = report.fix()
    assert [line[:2] for line in proofs] == [r for r in ("E3", "F5", "F4", "E4", "E5") if r in found(report)]
    torch.testing.assert_close(better(X), model(X), atol=1e-5, rtol=1e-4)
    left = found(inspect(better, X))
    assert set(left).isdisjoint({"E3", "F5"})
    assert left["E4"] == ["6.0"]  # the two passes, which is why they are two


# -- checks ---------------------------------------------------------------------------------------------------------------


def test_checks_stand_on_the_page_with_value_and_tolerance():
    torch.manual_seed(0)
    model = trained(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2)))
    fast = inspect(model, X)
    assert fast.checks == {}
    assert "Checked:" not in fast.to_html()
    report = inspect(model, X, level="standard")
    check = report.checks["E3"]
    assert 0 <= check.difference <= check.within == 1e-4
    assert "A1" in found(report)
    assert "A1" not in report.checks  # it changes the results: only where it is asked for
    for text in (report.to_html(), report.to_text()):
        assert f"differ by {check.difference:.1e} of the largest, 1e-04 is let pass" in text
    assert report.to_dict()["checks"]["E3"]["difference"] == check.difference
    checks = report.check()
    assert checks["A1"].within is None
    assert checks["A1"].difference > 1e-4
    assert "results are meant to change" in report.to_html()


def test_a_fix_that_cannot_be_done_says_so_and_does_not_stop_the_report():
    class Sized(nn.Module):
        """Counts on the channels that it has."""

        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3)

        def forward(self, x):
            y = self.a(x)
            assert y.shape[1] == self.a.bias.numel()
            if self.a.weight.shape[0] != 6:
                raise RuntimeError("six channels")
            return self.b(y)

    torch.manual_seed(0)
    model = Sized().eval()
    with torch.no_grad():
        model.a.weight[0] = 0
    report = inspect(model, X)
    with pytest.raises(VerificationError, match="six channels"):
        report.fix("F5")
    assert report.check("F5")["F5"].difference is None
    assert "not done" in report.to_html()
