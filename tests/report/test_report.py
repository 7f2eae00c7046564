"""The report: planted faults are caught by name, what is sound is not, and numbers are those of the public functions."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from faltung import certify, look
from faltung.errors import ArgumentError, FileError
from faltung.filters import Symbol
from faltung.look.spectrum import symbol_of
from faltung.readers import read
from faltung.report import compare, inspect
from faltung.report.sections import ALL
from faltung.report.sections.spectrum import one_tap
from faltung.report.words import shown

EXAMPLE = torch.zeros(1, 3, 32, 32)


def sound():
    """A network without a fault that any rule names."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.AvgPool2d(3, 2, 1), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),        nn.Flatten(), nn.Linear(16, 5),
    ).eval()  # fmt: skip
    # Smooth filters of many kinds, as training leaves them.
    with torch.no_grad():
        for layer in (model[0], model[3]):
            k = layer.kernel_size[0]
            window = torch.hann_window(k + 2, periodic=False)[1:-1]
            layer.weight.mul_(window[:, None] * window)
    return model


PLANTED = {
    "F5": lambda m: m[3].weight[:3].zero_(),
    "F4": lambda m: m[3].weight[5].copy_(2 * m[3].weight[2]),
    "F1": lambda m: m[3].weight[:, :5].mul_(1e-5),
    "S1": lambda m: m[3].weight.mul_(1000),
    "N1": lambda m: m[0].weight[0, 0, 0, 0].fill_(60_000),
    "N2": lambda m: m[0].weight[2].mul_(1000),
    "N3": lambda m: m[0].weight[1, 1, 2, 2].fill_(math.nan),
    "P1": lambda m: setattr(m[3], "padding", (2, 2)),
    "A3": lambda m: setattr(m[0], "stride", (7, 7)),
    "P2": lambda m: m.__setitem__(2, nn.Sequential(m[2], nn.ReplicationPad2d((0, 3, 0, 0)))),
    "F2": lambda m: m[3].weight.copy_(torch.einsum("oir,rhw->oihw", torch.randn(16, 8, 2), torch.randn(2, 3, 3))),
    "F3": lambda m: m[3].reset_parameters(),
    "S2": lambda m: m[3].weight[:, 6].copy_(m[3].weight[:, 1]),
}
LAYER = {"N1": "0", "N2": "0", "N3": "0", "A3": "0"}


def rules(report, grades=("bad", "warn")):
    return {f.rule: [layer for layer, _ in f.where] for f in report.findings if f.grade in grades}


def test_nothing_is_found_where_nothing_is_wrong():
    assert rules(inspect(sound(), EXAMPLE)) == {}


@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_fault_is_caught_by_name(rule):
    model = sound()
    with torch.no_grad():
        PLANTED[rule](model)
    layer, grades = LAYER.get(rule, "3"), ("bad", "warn", "info")
    assert layer not in rules(inspect(sound(), EXAMPLE), grades).get(rule, [])
    found = rules(inspect(model, EXAMPLE), grades)
    assert layer in found.get(rule, []), found


@pytest.mark.parametrize(
    ("layer", "rule"),
    [
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), "A1"),
        (nn.Conv2d(3, 4, 2, stride=3), "A3"),
        (nn.ConvTranspose2d(3, 4, 3, stride=2), "A4"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)), "E4"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)), "E3"),
    ],
)
def test_a_layer_that_breaks_a_rule(layer, rule):
    assert rule in rules(inspect(layer.eval(), EXAMPLE), ("bad", "warn", "info"))


def test_only_the_rules_that_are_wanted():
    model = sound()
    with torch.no_grad():
        PLANTED["F5"](model)
        PLANTED["S1"](model)
    assert [f.rule for f in inspect(model, EXAMPLE, rules=["S1"]).findings] == ["S1"]


def test_numbers_are_those_of_the_public_functions():
    model = sound()
    report = inspect(model, EXAMPLE)
    row = report.layers["3"]
    assert row["sparsity"] == look.filter_sparsity(model[3].weight.detach().numpy())
    assert row["orthogonality"] == look.filter_orthogonality(model[3].weight.detach().numpy())
    found = look.gains(Symbol(model[3].weight.detach().numpy()))
    assert (row["sigma_upper"], row["sigma_lower"]) == pytest.approx((found.upper, found.largest), rel=1e-8)
    assert row["condition"] == found.condition
    exact = inspect(model, EXAMPLE, level="standard").layers["3"]
    bound = certify.spectral_norm(model[3], rtol=0.02)
    assert exact["sigma_upper"] == pytest.approx(float(bound), rel=1e-9)
    assert bound.lower <= row["sigma_upper"]
    assert row["sigma_lower"] <= float(bound)
    assert row["macs"] == 16 * 16 * 16 * 8 * 9
    assert report.facts["parameters"] == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("into", "out"), [(4, 12), (12, 4), (4, 40), (6, 6)])
def test_strides_behind_one_tap_have_the_gains_of_the_public_function(into, out, transposed, groups):
    torch.manual_seed(0)
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    (node,) = read(kind(into, out, 1, 2, groups=groups), torch.zeros(1, into, 8, 8)).convolutions
    found, wanted = one_tap(node), look.gains(symbol_of(node), 1)
    for key in ("largest", "smallest", "upper", "rank", "dc", "nyquist"):
        assert getattr(found, key) == pytest.approx(getattr(wanted, key), rel=1e-9, abs=1e-12), key
    assert found.condition == pytest.approx(wanted.condition) or min(found.condition, wanted.condition) > 1e12
    assert found.at == wanted.at


def test_principal_components_of_many_filters_are_those_of_some(monkeypatch):
    from faltung.report.sections import filters

    model, x = nn.Sequential(nn.Conv2d(8, 16, 3)), torch.zeros(1, 8, 9, 9)
    words = [w for _, w in inspect(model, x).pictures]
    assert any("of all 3 × 3 filters" in w for w in words)
    monkeypatch.setattr(filters, "MANY", 50)
    words = [w for _, w in inspect(model, x).pictures]
    assert any("of one in 3 of 128 3 × 3 filters" in w for w in words)


def test_the_model_stays_as_it_was():
    model = sound().train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    seed = torch.get_rng_state()
    inspect(model, EXAMPLE, level="standard")
    assert model.training
    assert torch.equal(seed, torch.get_rng_state())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_weights_alone_are_inspected():
    report = inspect(sound())
    assert report.layers["3"]["sparsity"] is not None
    assert report.layers["3"].get("macs") is None
    assert any("example" in note for note in report.notes)


def test_text_json_and_page_say_the_same(tmp_path):
    model = sound()
    with torch.no_grad():
        PLANTED["F5"](model)
        PLANTED["N3"](model)
    report = inspect(model, EXAMPLE)
    for ending in ("html", "json", "txt"):
        report.save(tmp_path / f"r.{ending}")
    read = json.loads((tmp_path / "r.json").read_text())
    assert {f["rule"] for f in read["findings"]} == {f.rule for f in report.findings}
    for text in ((tmp_path / "r.html").read_text(), (tmp_path / "r.txt").read_text()):
        assert all(f.rule in text and f.title in text for f in report.findings)
    with pytest.raises(ArgumentError, match=r"report\.html"):
        report.save(tmp_path / "r.pdf")


def test_names_cannot_break_out_of_the_page():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module("<script>alert(1)</script>", nn.Conv2d(3, 4, 2, stride=3))

        def forward(self, x):
            return self._modules["<script>alert(1)</script>"](x)

    text = inspect(Odd(), EXAMPLE).to_html()
    assert "<script>alert" not in text


def test_comparing_tells_what_got_worse(tmp_path):
    model = sound()
    before = inspect(model, EXAMPLE)
    same = compare(before, inspect(sound(), EXAMPLE))
    assert not same.worse
    assert same.to_text() == "no difference"
    with torch.no_grad():
        PLANTED["F5"](model)
    before.save(tmp_path / "a.json")
    inspect(model, EXAMPLE).save(tmp_path / "b.json")
    worse = compare(tmp_path / "a.json", tmp_path / "b.json")
    assert worse.worse
    assert ("F5", "3") in [entry[:2] for entry in worse.new]
    back = compare(tmp_path / "b.json", tmp_path / "a.json")
    assert not back.worse
    assert ("F5", "3") in [entry[:2] for entry in back.gone]
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(FileError, match="format 1"):
        compare(tmp_path / "a.json", tmp_path / "c.json")
    with pytest.raises(FileError, match=r"d\.json"):
        compare(tmp_path / "a.json", tmp_path / "d.json")


def test_every_rule_reads_a_column_of_its_section_and_ids_are_unique():
    ids = [rule.id for section in ALL for rule in section.rules]
    assert len(ids) == len(set(ids))
    for section in ALL:
        keys = [column.key for column in section.columns]
        assert {rule.column for rule in section.rules} <= set(keys)
    keys = [column.key for section in ALL for column in section.columns]
    assert len(keys) == len(set(keys))


def test_every_column_names_a_function_that_exists():
    from importlib import import_module

    for section in ALL:
        for column in section.columns:
            path = column.by if column.by.startswith(("faltung.", "numpy.")) else f"faltung.{column.by}"
            parts = path.split(".")
            for cut in range(len(parts) - 1, 0, -1):
                try:
                    found = import_module(".".join(parts[:cut]))
                except ImportError:
                    continue
                for name in parts[cut:]:
                    found = getattr(found, name)
                break
            assert callable(found), column.by


@pytest.mark.parametrize("ndim", [1, 3])
def test_other_numbers_of_dimensions(ndim):
    conv = getattr(nn, f"Conv{ndim}d")
    model = nn.Sequential(conv(2, 8, 3, stride=2, padding=1), nn.ReLU(), conv(8, 8, 3, padding=1, groups=8))
    report = inspect(model, torch.zeros(1, 2, *(8,) * ndim))
    assert report.layers["2"]["sigma_upper"] >= report.layers["2"]["sigma_lower"] > 0
    report.to_html()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: inspect(sound(), EXAMPLE, level="deep"), "'deep'"),
        (lambda: inspect(sound(), EXAMPLE, level="full", data=3), "loader"),
        (lambda: inspect(sound(), EXAMPLE, level="full", data=torch.zeros(4, 2, 8, 8)), "example"),
        (lambda: inspect(sound(), EXAMPLE, level="full", data=[]), "one batch"),
        (lambda: inspect(sound(), EXAMPLE, rules=["Z9"]), "'Z9'"),
        (lambda: inspect(3), "int"),
        (lambda: inspect(sound()).fix("E3"), "example"),
        (lambda: compare(1, 2), "int"),
    ],
)
def test_wrong_calls_are_told(call, said):
    with pytest.raises(ArgumentError, match=said):
        call()


def test_what_is_shown():
    assert [shown(v) for v in (None, 3, 12_345, 0.12345, 123_456.7, math.nan, math.inf, True, "x")] == [
        "?", "3", "12,345", "0.123", "123,457", "?", "inf", "yes", "x",
    ]  # fmt: skip
    assert shown(np.float64(0.5)) == "0.5"
