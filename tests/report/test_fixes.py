"""Every fix runs, is checked against the model that it replaces, and leaves that as it was; what must not be folded is not."""

import copy

import pytest
import torch
from torch import nn

import faltung.nn
from faltung.errors import ArgumentError, VerificationError
from faltung.report import fixes, inspect, rewritings
from faltung.report.sections import ALL

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def trained(model):
    """The model with norms that do something, ready to run."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                if module.affine:
                    module.weight.normal_()
                    module.bias.normal_()
    return model.eval()


LAYERS = {
    "plain": lambda: nn.Conv2d(3, 6, 3, padding=1),
    "no bias, groups": lambda: nn.Conv2d(3, 6, 3, padding=1, groups=3, bias=False),
    "stride, dilation": lambda: nn.Conv2d(3, 6, 3, 2, 2, 2),
    "circular": lambda: nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular"),
    "transposed": lambda: nn.ConvTranspose2d(3, 6, 4, 2, 1),
    "transposed, groups": lambda: nn.ConvTranspose2d(3, 6, 4, 2, 1, groups=3),
    "ours": lambda: faltung.nn.Conv(2, 3, 6, 3, padding=1),
}


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_folding_norms_keeps_the_results(name, affine):
    torch.manual_seed(0)
    tail = (nn.ReLU(), nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4))
    model = trained(nn.Sequential(LAYERS[name](), nn.BatchNorm2d(6, affine=affine), *tail))
    state = copy.deepcopy(model.state_dict())
    better, proof = inspect(model, X).fix("E3")
    torch.testing.assert_close(better(X), model(X), atol=1e-4, rtol=1e-4)
    assert isinstance(better[1], nn.Identity)
    assert "2 of 2" in proof[0]
    assert "E3" not in {f.rule for f in inspect(better, X).findings}
    assert isinstance(model[1], nn.BatchNorm2d)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    with pytest.raises(ArgumentError, match="E3"):
        inspect(model, X).fix("F4")


def test_norms_behind_linear_maps_are_folded():
    torch.manual_seed(0)
    model = trained(nn.Sequential(nn.Flatten(), nn.Linear(768, 5), nn.BatchNorm1d(5)))
    better, _ = inspect(model, X).fix("E3")
    torch.testing.assert_close(better(X), model(X), atol=1e-5, rtol=1e-5)
    # Behind an axis between, the norm's channels are not the layer's outputs.
    rows = trained(nn.Sequential(nn.Flatten(2), nn.Linear(256, 3), nn.BatchNorm1d(3)))
    assert "E3" not in {f.rule for f in inspect(rows, X).findings}


class Twice(nn.Module):
    """A convolution that is called twice, once before a norm, and a norm that is called twice."""

    def __init__(self, shared_norm):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.c = nn.Conv2d(3, 3, 1)
        self.norm, self.shared_norm = nn.BatchNorm2d(3), shared_norm
        self.last = nn.BatchNorm2d(3)

    def forward(self, x):
        y = torch.relu(self.norm(self.a(x)))
        y = self.norm(self.b(y)) if self.shared_norm else self.a(y)
        return self.last(self.c(torch.relu(y)))


class Seen(nn.Module):
    """A result that a norm reads, and that is also returned."""

    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.a(x)
        return y, self.norm(y)


@pytest.mark.parametrize("shared_norm", [False, True])
def test_what_is_called_twice_is_not_folded(shared_norm):
    torch.manual_seed(0)
    model = trained(Twice(shared_norm))
    report = inspect(model, X)
    assert {f.rule: [layer for layer, _ in f.where] for f in report.findings}["E3"] == ["c"]
    better, proof = report.fix()
    assert "1 of 1" in proof[0]
    torch.testing.assert_close(better(X), model(X), atol=1e-5, rtol=1e-5)
    assert isinstance(better.norm, nn.BatchNorm2d)
    assert isinstance(better.last, nn.Identity)


def test_results_that_are_also_returned_are_not_folded():
    model = trained(Seen())
    assert "E3" not in {f.rule for f in inspect(model, X).findings}


def test_computed_kernels_are_left_and_named():
    model = trained(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)))
    better, proof = inspect(model, X).fix("E3")
    assert "0 of 1" in proof[0]
    assert "not 0" in proof[0]
    assert torch.equal(better(X), model(X))


def test_the_graph_is_read_once(monkeypatch):
    import faltung.readers

    model = trained(nn.Sequential(*(layer for _ in range(4) for layer in (nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)))))
    report, calls = inspect(model, X), []
    read = faltung.readers.read
    monkeypatch.setattr(faltung.readers, "read", lambda *a: calls.append(a) or read(*a))
    _, proof = report.fix("E3")
    assert "4 of 4" in proof[0]
    assert len(calls) == 1


def classifier():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 5),
    ).eval()  # fmt: skip


def test_low_passes_behind_strides_lower_the_error_under_shifts():
    from faltung import certify

    model = classifier()
    state = copy.deepcopy(model.state_dict())
    report = inspect(model, X)
    (found,) = [f for f in report.findings if f.rule == "A1"]
    assert [layer for layer, _ in found.where] == ["0", "2"]
    better, proof = report.fix("A1")
    assert better(X).shape == model(X).shape
    before, after = (certify.equivariance(m, "shift", X, count=16, layers=None).mean for m in (model, better))
    assert after < 0.6 * before
    assert "2 strides" in proof[0]
    # The layers' own numbers are the same: only what is read of them is another.
    assert all(torch.equal(better.state_dict()[key], value) for key, value in state.items())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert "A1" not in {f.rule for f in inspect(better, X).findings}


def test_both_fixes_one_after_the_other():
    torch.manual_seed(0)
    model = trained(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()))
    better, proof = inspect(model, X).fix("E3", "A1")
    assert [line[:2] for line in proof] == ["E3", "A1"]
    assert {f.rule for f in inspect(better, X).findings}.isdisjoint({"E3", "A1"})


def test_every_rewriting_that_a_rule_names_exists_and_the_other_way_round():
    named = {rule.rewrite for section in ALL for rule in section.rules if rule.rewrite}
    assert named == set(fixes.REWRITINGS)
    assert set(fixes.KEEPING) <= named


@pytest.mark.parametrize("example", [X, torch.zeros_like(X)], ids=["noise", "zeros"])
def test_a_fix_that_changes_the_results_is_refused(monkeypatch, example):
    def wrong(model, report):
        model, done = rewritings.fold(model, report)
        with torch.no_grad():
            model[0].weight[0, 0, 0, 0] += 0.1  # which an example of zeros alone would not show
        return model, done

    model = trained(nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)))
    monkeypatch.setitem(fixes.REWRITINGS, "E3", wrong)
    with pytest.raises(VerificationError, match="E3"):
        inspect(model, example).fix("E3")
