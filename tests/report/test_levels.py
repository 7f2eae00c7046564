"""What the levels add that run the network, for modules and for files; and every rule breaks beyond its bound and not before."""

import math
import re
import sys
import warnings

import pytest
import torch
from torch import nn

from faltung import certify, look
from faltung.report import inspect
from faltung.report.given import gathered
from faltung.report.section import WHOLE
from faltung.report.sections import ALL

X = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
DATA = torch.randn(48, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def strided():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10),
    ).eval()  # fmt: skip


def steady():
    """Circular throughout and without a stride: no answer can change under whole shifts."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular"), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    ).eval()  # fmt: skip


def found(report):
    return {f.rule: dict(f.where) for f in report.findings}


@pytest.fixture(scope="module")
def full():
    return inspect(strided(), X, data=(DATA, torch.zeros(48, dtype=torch.long)), level="full")


def test_every_level_fills_sections_of_its_own(full):
    filled = {key for row in full.layers.values() for key in row}
    for section in ALL:
        known = filled & {column.key for column in section.columns}
        assert known or section.name == "enlarging", section.name
    names = {level: {s.name for s in inspect(steady(), X, level=level).sections} for level in ("fast", "standard")}
    assert names["fast"] < names["standard"] < {s.name for s in full.sections}
    full.to_html()
    full.to_json()
    assert full.facts["layers"] == len(full.layers) - 1  # less the row of the whole network


def test_numbers_of_the_full_level_are_those_of_the_public_functions(full):
    model = strided()
    kept = look.shift_consistency(model, DATA, most=5)
    assert full.layers[WHOLE]["consistency"] == kept.agree
    assert full.layers[WHOLE]["deviation"] == kept.deviation
    assert found(full)["A2"] == {WHOLE: kept.agree}
    profile = {row[0]: row[1:] for row in look.representation_profile(model, DATA).rows}
    row = full.layers["3"]
    assert (row["dimension"], row["dimension_mle"], row["linear"]) == pytest.approx(profile["3"][:3])
    field = look.effective_receptive_field(model, DATA[:1], layer="3")
    assert (row["effective"], row["effective_99"]) == (field.sides[0.5], field.sides[0.99])
    assert row["used"] == field.places(0.99) / look.receptive_field(model, X)["3"].size[0] ** 2
    assert 0 < row["used"] <= 1
    borders = {name: influence for name, influence, _ in look.border_influence(model, X).layers}
    assert row["border"] == pytest.approx(borders["3"])
    assert row["speedup"] == pytest.approx(row["torch_ms"] / row["faltung_ms"])
    assert row["over_roof"] == pytest.approx(min(row["torch_ms"], row["faltung_ms"]) / row["roof_ms"])
    assert row["method"] == look.efficiency(model, X, roof=look.Roof(1e11, 1e10)).rows[1].method
    assert row["shift_error"] > 0.1 > full.layers["0"]["shift_error"] * 1e-9
    right = (model(DATA).argmax(1) == 0).double().mean().item()
    assert full.facts["accuracy"] == f"{right:.1%}"
    assert full.facts["label sharpness"] == 0  # one label
    captions = [words for _, words in full.pictures]
    starts = (
        "The filters of 0", "Principal components", "Smallest singular value", "σ max over the frequency", "Answers kept by 8",
        "Receptive field", "Effective field of 5", "Waterline: ", "Waterline, measured: ",
    )  # fmt: skip
    for start in starts:
        assert sum(words.startswith(start) for words in captions) == 1, start
    assert len(captions) == 9
    assert all(re.search(r'(alt|aria-label)="[^"]{10,}"', body) for body, _ in full.pictures)


def test_steady_networks_keep_their_answers():
    report = inspect(steady(), X, data=DATA, level="full")
    assert report.layers[WHOLE]["consistency"] == 1
    assert report.layers["0"]["shift_error"] < 1e-5
    assert report.layers["0"]["border"] < 1e-4
    assert "A2" not in found(report)
    assert "accuracy" not in report.facts


def loader(labels=True):
    """Batches in turn, as a loader gives them."""
    for start in range(0, 48, 12):
        part = DATA[start : start + 12]
        yield [part, torch.full((12,), start // 12)] if labels else part


@pytest.mark.parametrize(
    ("data", "labelled"),
    [(DATA, False), (list(DATA.split(20)), False), (loader(False), False), ([(DATA,)], False), (loader(), True),
     ((DATA, torch.arange(48) // 12), True)],
)  # fmt: skip
def test_forms_of_data_say_the_same(data, labelled):
    samples, labels, _ = gathered(data, X)
    assert torch.equal(samples, DATA)
    assert labels is None if not labelled else torch.equal(labels, torch.arange(48) // 12)


def test_no_more_batches_are_taken_than_are_looked_at():
    def endless():
        while True:
            calls.append(1)
            yield DATA

    calls = []
    samples, _, note = gathered(endless(), X)
    assert len(samples) == 512
    assert "512 samples" in note
    assert len(calls) == math.ceil(512 / 48)


def test_without_data_noise_is_drawn_and_that_is_said():
    samples, labels, note = gathered(None, X)
    assert samples.shape[1:] == X.shape[1:]
    assert labels is None
    assert "noise" in note
    assert torch.equal(samples, gathered(None, X)[0])


@pytest.mark.slow
def test_the_model_stays_as_it_was_at_level_full():
    model = strided().train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    seed = torch.get_rng_state()
    inspect(model, X, data=DATA, level="full")
    assert model.training
    assert torch.equal(seed, torch.get_rng_state())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_compiled_models_are_looked_into():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(steady())
    wanted, report = inspect(steady(), X, level="standard"), inspect(compiled, X, level="standard")
    assert report.layers.keys() == wanted.layers.keys()
    assert report.layers["0"]["value"] == wanted.layers["0"]["value"]
    assert report.facts["Lipschitz ≤"] == wanted.facts["Lipschitz ≤"]


@pytest.mark.parametrize("ndim", [1, 3])
def test_other_dimensions_at_level_full(ndim):
    torch.manual_seed(0)
    conv, mean = getattr(nn, f"Conv{ndim}d"), getattr(nn, f"AdaptiveAvgPool{ndim}d")
    model = nn.Sequential(
        conv(2, 4, 3, 2, 1), nn.ReLU(), conv(4, 4, 3, padding=1), mean(1), nn.Flatten(), nn.Linear(4, 3)
    )
    report = inspect(model, torch.randn(1, 2, *(8,) * ndim), level="full")
    assert not [note for note in report.notes if "not known" in note]
    row = report.layers["2"]
    assert {"effective", "dimension", "value", "torch_ms", "border", "sigma_upper", "shift_error"} <= row.keys()


# -- files --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, model = tmp_path_factory.mktemp("files"), strided()
    torch.export.save(torch.export.export(model, (X,)), folder / "net.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (X,), folder / "net.onnx", dynamo=False)
        axes = {"x": {0: "n"}}
        torch.onnx.export(model, (X,), folder / "open.onnx", dynamo=False, input_names=["x"], dynamic_axes=axes)
    torch.save(model.state_dict(), folder / "weights.pt")
    return folder


@pytest.fixture(scope="module")
def standard():
    return inspect(strided(), X, level="standard")


@pytest.mark.parametrize("name", ["net.pt2", "net.onnx", "open.onnx", "program"])
def test_files_run_at_standard_level_as_their_modules(files, standard, name):
    source = torch.export.export(strided(), (X,)) if name == "program" else files / name
    wanted, report = standard, inspect(source, X, level="standard")
    for layer in ("3", "5"):  # norms are folded into the first one by one exporter
        for key in ("alias_signal", "value", "value_ratio", "sigma_upper"):
            assert report.layers[layer][key] == pytest.approx(wanted.layers[layer][key], rel=1e-4)
    assert report.layers["3"]["value_broken"] == 0


@pytest.mark.parametrize("name", ["net.pt2", "net.onnx"])
def test_files_run_at_level_full(files, full, name):
    report, wanted = inspect(files / name, data=DATA, level="full"), full
    assert report.layers[WHOLE]["consistency"] == wanted.layers[WHOLE]["consistency"]
    assert report.layers["3"]["dimension"] == pytest.approx(wanted.layers["3"]["dimension"], rel=1e-3)
    assert report.layers["3"]["torch_ms"] > 0
    assert ("effective" in report.layers["3"]) == (name == "net.pt2")
    assert any("no example" in note for note in report.notes)


def test_what_cannot_run_is_said(files, monkeypatch):
    report = inspect(files / "weights.pt", level="standard")
    assert any("nothing ran" in note for note in report.notes)
    assert report.layers["3"]["sparsity"] == 0
    assert any("nothing ran" in note for note in inspect(files / "open.onnx", level="standard").notes)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    report = inspect(files / "net.onnx", X, level="standard")
    assert any("onnxruntime" in note for note in report.notes)
    assert report.layers["3"]["alias"] > 0.5
    assert "value" not in report.layers["3"]


# -- planted faults that only running shows ------------------------------------------------------------------------------


def test_values_beyond_half_precision_and_no_numbers():
    model = strided()
    with torch.no_grad():
        model[0].weight *= 1e6
        model[1].running_var.fill_(1.0)
    assert "0" in found(inspect(model, X, level="standard"))["N4"]
    assert "N4" not in found(inspect(strided(), X, level="standard"))
    with torch.no_grad():
        model[0].weight.fill_(3e38)
    assert "0" in found(inspect(model, X, level="standard"))["N5"]


def test_grids_of_generators():
    torch.manual_seed(0)
    uneven = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ConvTranspose2d(1, 1, 3, 2))
    smooth = nn.Sequential(
        nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 5, padding=2, padding_mode="circular", bias=False)
    )
    with torch.no_grad():
        uneven[1].weight.fill_(1.0)
        line = torch.tensor([1.0, 4, 6, 4, 1]) / 16
        smooth[1].weight[0, 0] = line[:, None] * line
    x = 3 + torch.randn(16, 1, 16, 16)
    assert found(inspect(uneven, x[:1], data=x, level="full"))["G1"].keys() == {"1", WHOLE}
    report = inspect(smooth, x[:1], data=x, level="full")
    assert report.layers[WHOLE]["replica"] < 10


def test_names_of_depthwise_filters_and_where_gains_are_largest():
    torch.manual_seed(0)
    rows = torch.arange(7.0) - 3
    bell = torch.exp(-(rows[:, None] ** 2 + rows**2) / 3)
    model = nn.Sequential(
        nn.Conv2d(4, 4, 7, groups=4, padding=3), nn.ReLU(), nn.Conv2d(4, 4, (1, 2)), nn.Flatten(), nn.Linear(224, 3)
    )
    with torch.no_grad():
        model[0].weight.copy_((-rows[:, None] * bell).expand(4, 1, 7, 7))
        model[2].weight.copy_(torch.eye(4)[..., None, None] * torch.tensor([1.0, -1.0]))
    x = torch.randn(1, 4, 8, 8)
    report = inspect(model, x, level="standard")
    assert (report.layers["0"]["named"], report.layers["0"]["shape"]) == (1, "first")
    assert report.layers["2"]["at"].endswith("× 1")  # a difference is largest for what alternates
    assert report.layers["2"]["l_orth"] == pytest.approx(certify.l_orth(model[2].weight.detach().double()).item())
    assert report.facts["certified radius"] == pytest.approx(certify.radius(model, x, rtol=0.1).item())
    assert report.layers["0"]["dtype"] == "float32"


def test_fields_smaller_than_objects():
    assert found(inspect(strided(), X, object_size=10))["R2"] == {WHOLE: 1}  # 1 + 2 + 2 + 2 · 2 places
    assert "R2" not in found(inspect(strided(), X, object_size=9))
    assert "R2" not in found(inspect(strided(), X))


def test_products_of_lines_and_half_filled_vectors():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 20, 5), nn.ReLU(), nn.Conv2d(20, 16, 3))
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(20, 3, 5, 1) * torch.randn(20, 3, 1, 5))
    rules = found(inspect(model, X))
    assert rules["E5"] == {"0": 1.0}
    assert rules["E6"] == {"0": 4}


# For every rule a value just inside its bound and one just beyond: a turned sign or another number shows here.
BOUNDS = {
    "P1": (0, 1), "P2": (1, 2), "F1": (0.5, 0.51), "F2": (0.5, 0.49), "F3": (0.99, 1.0), "F4": (0, 1), "F5": (0.05, 0.06),
    "E5": (0.9, 0.91), "S1": (10.0, 10.1), "S2": (1e6, 1.1e6), "S3": (0.35, 0.36), "C1": (1e30, math.inf), "A1": (0.3, 0.31),
    "A2": (0.9, 0.89), "A3": (False, True), "A4": (False, True), "R1": (False, True), "R2": (0, 1), "E1": (3.0, 3.1),
    "E2": (1.25, 1.26), "E3": (0, 1), "E4": (0, 1), "E6": (0, 1), "N1": (32_752.0, 32_753.0), "N2": (64.0, 64.1), "N3": (0, 1),
    "N4": (32_752.0, 32_753.0), "N5": (0, 1), "G1": (10.0, 10.1),
}  # fmt: skip


def test_every_rule_has_its_bound():
    rules = {rule.id: rule for section in ALL for rule in section.rules}
    assert rules.keys() == BOUNDS.keys()
    for name, (inside, beyond) in BOUNDS.items():
        assert not rules[name].broken(inside), name
        assert rules[name].broken(beyond), name
