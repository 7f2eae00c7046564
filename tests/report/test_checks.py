"""What the check of a rewriting lets pass: nothing that NaN hides, and no model whose own code raises stops a report."""

import json
import math

import pytest
import torch
from torch import nn

from faltung.errors import ArgumentError, VerificationError
from faltung.report import fixes, inspect
from faltung.report.fixes import Check, apart, largest
from faltung.report.report import Report
from faltung.report.rewritings import fold

from .test_fixes import X, trained


class Wrapped(nn.Module):
    """A convolution and its norm, and what a model may do with their results."""

    def __init__(self, end, start=None):
        super().__init__()
        self.a, self.n, self.end, self.start = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), end, start

    def forward(self, x):
        if self.start is not None:
            self.start(x)
        return self.end(self.n(self.a(x)))


def wrapped(end, start=None):
    torch.manual_seed(0)
    return trained(Wrapped(end, start))


def positive(x):
    assert bool((x >= 0).all()), "only what is not negative"


def broken(model, report):
    """A fold that another number spoils."""
    model, done = fold.fold(model, report)
    with torch.no_grad():
        model.a.weight[0, 0, 0, 0] += 0.1
    return model, done


def nan_on_noise(y):
    """Finite where results are large, as of a large example; NaN elsewhere."""
    return torch.where(y.abs().mean() > 100, y, torch.full_like(y, torch.nan))


@pytest.mark.parametrize(
    ("a", "b", "far"),
    [
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]), 0.25),
        (torch.tensor([1.0, torch.nan]), torch.tensor([1.0, torch.nan]), 0.0),
        (torch.tensor([1.0, torch.nan]), torch.tensor([1.0, 2.0]), math.inf),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, torch.nan]), math.inf),
        (torch.tensor([torch.inf, 4.0]), torch.tensor([torch.inf, 5.0]), 0.25),
        (torch.tensor([torch.inf, 4.0]), torch.tensor([-torch.inf, 4.0]), math.inf),
        (torch.tensor([True, False]), torch.tensor([True, False]), 0.0),
        (torch.tensor([True, False]), torch.tensor([True, True]), math.inf),
        (torch.tensor([3, 4]), torch.tensor([3, 5]), math.inf),
        (torch.tensor([1j, 2.0]), torch.tensor([1j, 1.0]), 0.5),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64), math.inf),
        (torch.tensor([1.0]), torch.tensor([[1.0]]), math.inf),
        ((torch.tensor([1.0]), 3.0), (torch.tensor([1.0]), 1.5), 0.5),
        ((torch.tensor([1.0]), torch.tensor([2.0])), (torch.tensor([1.0]),), math.inf),
        ({"a": torch.zeros(0), "b": "word"}, {"a": torch.zeros(0), "b": "word"}, 0.0),
    ],
)
def test_how_far_results_are_apart(a, b, far):
    assert apart(a, b) == far


@pytest.mark.parametrize("values", [[0.0, math.nan], [math.nan, 0.0], [math.inf, math.nan]])
def test_the_largest_of_numbers_with_nan_is_nan(values):
    assert math.isnan(largest(values))
    assert largest([0.5, 0.25]) == 0.5
    assert largest([]) == 0.0


def half_nan(y):
    """NaN for what is negative: half of what noise gives."""
    return y.sqrt()


@pytest.mark.parametrize(
    "end", [half_nan, lambda y: y > 0, lambda y: {"a": y, "b": y.argmax(1)}], ids=["nan", "bool", "class"]
)
def test_a_wrong_rewriting_passes_nowhere(monkeypatch, end):
    model = wrapped(end)
    _, (right,) = inspect(model, X).fix("E3")
    assert "1 of 1" in right
    monkeypatch.setitem(fixes.REWRITINGS, "E3", broken)
    report = inspect(model, X, level="standard")
    assert "not done" in report.checks["E3"].done
    with pytest.raises(VerificationError, match="E3"):
        report.fix("E3")


def test_noise_that_a_model_refuses_is_left_out_and_said():
    model = wrapped(torch.relu, positive)
    report = inspect(model, X.abs(), level="standard")
    check = report.checks["E3"]
    assert check.difference <= check.within
    assert "only what is not negative" in check.note
    assert "results of the example differ by" in str(check)
    assert "only what is not negative" in report.to_text()
    assert json.loads(report.to_json())["checks"]["E3"]["note"] == check.note
    plain = inspect(wrapped(torch.relu), X, level="standard").checks["E3"]
    assert plain.note == ""
    assert "the example and of noise" in str(plain)


def test_noise_that_shows_nothing_is_left_out_and_said():
    check = inspect(wrapped(nan_on_noise), 1e4 * X, level="standard").checks["E3"]
    assert check.difference <= check.within
    assert "nothing finite" in check.note


@pytest.mark.parametrize("error", [RuntimeError("no"), AssertionError("no"), KeyError("no"), ZeroDivisionError("no")])
def test_a_rewriting_that_raises_does_not_stop_a_report(monkeypatch, error):
    def raising(model, report):
        raise error

    monkeypatch.setitem(fixes.REWRITINGS, "E3", raising)
    report = inspect(wrapped(torch.relu), X, level="standard")
    assert report.checks["E3"].difference is None
    assert type(error).__name__ in report.checks["E3"].done
    with pytest.raises(VerificationError, match="E3 can rewrite"):
        report.fix("E3")


def test_a_rewritten_model_that_asserts_does_not_stop_a_report():
    """The norm is gone, which the model looks at."""

    class Watching(Wrapped):
        def forward(self, x):
            assert isinstance(self.n, nn.BatchNorm2d), "the norm is gone"
            return super().forward(x)

    report = inspect(trained(Watching(torch.relu)), X, level="standard")
    assert "the norm is gone" in report.checks["E3"].done


def test_a_model_that_no_longer_takes_its_example_is_named():
    model = wrapped(torch.relu)
    report = inspect(model, X)
    model.start = positive
    with pytest.raises(ArgumentError, match="runs on its example"):
        report.fix("E3")


@pytest.mark.parametrize("value", [math.inf, math.nan, -math.inf, 0.25])
def test_checks_that_are_not_finite_are_words_in_json(value):
    report = Report("a network", "fast", {"a": {"x": value}}, {"f": value}, (), (), ())
    report.checks["A1"] = Check("A1", "done", value, None)
    word = {"inf": "inf", "-inf": "-inf", "nan": None, "0.25": 0.25}[str(value)]
    read = json.loads(report.to_json())
    assert read["checks"]["A1"]["difference"] == word
    assert read["layers"]["a"]["x"] == word
    assert read["facts"]["f"] == word
    assert read == report.to_dict()


@pytest.mark.parametrize("transposed", [False, True])
def test_folding_computes_where_the_layer_is(transposed):
    """Numbers of a norm on the processor, a layer elsewhere: the meta device stands for all others."""
    from faltung.readers import read
    from faltung.report.rewritings.fold import folded

    layer = nn.ConvTranspose2d(3, 4, 2) if transposed else nn.Conv2d(3, 4, 2)
    model = trained(nn.Sequential(layer, nn.BatchNorm2d(4)))
    network = read(model, X)
    made = folded(layer.to("meta"), network["0"], network["1"])
    assert made.weight.is_meta
    assert made.bias.is_meta
    assert made.weight.shape == layer.weight.shape


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_margin_of_a_number_stops_dead_outputs_and_copies(value):
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3)
    with torch.no_grad():
        first.weight[0], first.bias[0] = 0, 0
        first.weight[2], first.bias[2] = 2 * first.weight[1], 2 * first.bias[1]
    model = nn.Sequential(first, nn.ReLU(), nn.ConstantPad2d(1, value), last).eval()
    for rule in ("F5", "F4"):
        better, (proof,) = inspect(model, X).fix(rule)
        torch.testing.assert_close(better(X), model(X), atol=1e-5, rtol=1e-5)
        assert ("0 of 1" if value else "1 of 1") in proof


@pytest.mark.parametrize("kernel", [5, (5, 3), (3, 5)])
@pytest.mark.parametrize("out", [1, 4])
def test_one_input_s_lines_become_two_passes(kernel, out):
    torch.manual_seed(0)
    layer = nn.Conv2d(1, out, kernel, stride=(2, 1), padding=(1, 2))
    kh, kw = layer.kernel_size
    with torch.no_grad():
        layer.weight.copy_(torch.randn(out, 1, kh, 1) * torch.randn(out, 1, 1, kw))
    x = X[:, :1]
    model = nn.Sequential(layer, nn.ReLU()).eval()
    better, (proof,) = inspect(model, x).fix("E5")
    torch.testing.assert_close(better(x), model(x), atol=1e-5, rtol=1e-5)
    assert "1 of 1 layers in two passes" in proof
    assert sum(p.numel() for p in better.parameters() if p.ndim > 1) < layer.weight.numel()


def test_the_report_is_offered_at_the_top():
    import faltung
    from faltung import report

    assert faltung.inspect is report.inspect
    assert "inspect" in dir(faltung)
