"""What each layer is and how it lies: rows for each call, margins in torch's words, low-passes, layouts, facts of the network."""

import pytest
import torch
from torch import nn

import faltung.nn
from faltung import certify, look
from faltung.readers import read
from faltung.report import inspect
from faltung.report.section import WHOLE, Subject
from faltung.report.sections import generator

X = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_what_is_certified_of_a_small_network():
    """The distance to the border of a linear map, and the factors of a layer alone and with the norm behind it."""
    model = nn.Sequential(
        nn.Conv1d(1, 1, 1, bias=False), nn.BatchNorm1d(1, eps=0.0), nn.Flatten(), nn.Linear(2, 2, bias=False)
    ).eval()
    with torch.no_grad():
        model[0].weight.fill_(2.0)
        model[1].running_var.fill_(0.25)  # times 2
        model[3].weight.copy_(torch.eye(2))
    report = inspect(model, torch.tensor([[[3.0, 1.0]]]), level="standard")
    assert report.layers["0"]["factor"] == pytest.approx(2, rel=1e-6)
    assert report.layers["1"]["factor"] == pytest.approx(4, rel=1e-6)
    assert report.layers["1"]["running"] == pytest.approx(4, rel=1e-6)
    assert report.facts["Lipschitz ≤"] == pytest.approx(4, rel=1e-6)
    # logits 12 and 4: the gap of 8 over 4 · √2
    assert report.facts["certified radius"] == pytest.approx(2**0.5, rel=1e-6)
    assert report.facts["certified radius"] <= 2**0.5


def test_how_far_results_are_from_overflow_in_narrow_types():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    row = inspect(model, X, level="standard").layers["0"]
    with torch.no_grad():
        largest = float(model[0](X).abs().max())
    for key, dtype in (("margin_half", torch.float16), ("margin_bfloat", torch.bfloat16)):
        assert row[key] == pytest.approx(torch.finfo(dtype).max / largest)


def test_bounds_of_a_matrix_hold_its_norm_and_the_rounding_of_finding_it():
    from faltung.certify import gram

    size = 64
    model = nn.Sequential(nn.Linear(size, size, bias=False)).double()
    rows = torch.arange(size)
    signs = torch.tensor([[(-1.0) ** bin(int(i & j)).count("1") for j in rows] for i in rows])
    with torch.no_grad():
        model[0].weight.copy_(signs)  # all singular values are 8
    row = inspect(model, torch.zeros(1, size).double()).layers["0"]
    slack = gram.slack(size, 1, 1)
    assert row["sigma_lower"] < 8 < row["sigma_upper"]
    assert row["sigma_upper"] / row["sigma_lower"] == pytest.approx(1 + 2 * slack, rel=slack / 2)


class Twice(nn.Module):
    """One layer that is called twice, on signals of two sizes."""

    def __init__(self):
        super().__init__()
        self.a, self.head = nn.Conv2d(3, 3, 3, 2, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.head(torch.relu(self.a(torch.relu(self.a(x)))))


def test_each_call_has_a_row_and_weights_count_once():
    torch.manual_seed(0)
    model = Twice().eval()
    report = inspect(model, X, level="standard")
    first, second = report.layers["a"], report.layers["a:2"]
    assert (first["calls"], second["calls"], report.layers["head"]["calls"]) == (2, 2, 1)
    assert (first["input"], first["result"]) == ("1 × 3 × 16 × 16", "1 × 3 × 8 × 8")
    assert (second["input"], second["result"]) == ("1 × 3 × 8 × 8", "1 × 3 × 4 × 4")
    assert first["macs"] == 4 * second["macs"]
    assert second["value"] != first["value"]
    for key in ("parameters", "sparsity", "sigma_upper", "largest"):
        assert key in first
        assert key not in second, key
    assert sum(row.get("parameters") or 0 for row in report.layers.values()) == report.facts["parameters"]
    assert report.facts["layers"] == 2
    report.to_html()


@pytest.mark.parametrize(
    ("layer", "padding", "mode"),
    [
        (nn.Conv2d(3, 4, 3, padding=1), "1", "zeros"),
        (nn.Conv2d(3, 4, 3, padding=(1, 0), padding_mode="reflect"), "1, 0", "reflect"),
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), "1", "circular"),
        (faltung.nn.Conv(2, 3, 4, 3, padding=1, padding_mode="replicate"), "1", "replicate"),
        (nn.Conv2d(3, 4, 3), "0", None),
        (nn.Sequential(nn.ReflectionPad2d((0, 2, 0, 2)), nn.Conv2d(3, 4, 3, padding=1)), "1+3", "zeros in reflect"),
    ],
)
def test_margins_in_words(layer, padding, mode):
    model = nn.Sequential(*layer) if isinstance(layer, nn.Sequential) else nn.Sequential(layer)
    row = list(inspect(model.eval(), X).layers.values())[-1]
    assert row["padding"] == padding
    assert row.get("padding_mode") == mode


def test_margins_of_torchs_own_modes_keep_the_place():
    for padding, lacks in ((2, 0), (1, 2)):
        layer = nn.Conv2d(3, 4, 5, padding=padding, padding_mode="reflect")
        assert inspect(nn.Sequential(layer), X).layers["0"]["short"] == lacks


def test_kernels_in_memory():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last))
    rows = inspect(model, X).layers
    assert (rows["0"]["layout"], rows["1"]["layout"]) == ("contiguous", "channels last")


def blur(taps=(1.0, 2, 1)):
    layer = nn.Conv2d(3, 3, 3, 2, 1, groups=3, bias=False)
    line = torch.tensor(taps)
    with torch.no_grad():
        layer.weight.copy_((line[:, None] * line / line.sum() ** 2).expand(3, 1, 3, 3))
    return layer


@pytest.mark.parametrize(
    ("layers", "last", "passed"),
    [
        ((nn.Conv2d(3, 3, 3, 2, 1),), "0", False),
        ((blur(),), "0", True),
        ((blur((1.0, 1, 1)),), "0", False),  # lets a third of what alternates through
        ((nn.AvgPool2d(2, 1), nn.Dropout(), nn.Conv2d(3, 3, 3, 2)), "2", True),
        ((nn.AvgPool2d(2, 1), nn.ReLU(), nn.Conv2d(3, 3, 3, 2)), "2", False),
        ((nn.MaxPool2d(2),), "0", False),
        ((nn.AvgPool2d(2),), "0", True),
    ],
)
def test_low_passes_before_strides(layers, last, passed):
    torch.manual_seed(0)
    assert inspect(nn.Sequential(*layers).eval(), X).layers[last]["low_pass"] is passed


def test_entropy_without_dead_filters_and_shares_of_shapes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 16, 3), nn.Conv2d(16, 16, 7, groups=16))
    bell = torch.exp(-((torch.arange(7.0) - 3) ** 2) / 4)
    with torch.no_grad():
        model[0].weight[:, 3:] = 0
        model[1].weight[:4] = bell[:, None] * bell
    rows = inspect(model, torch.zeros(1, 8, 16, 16)).layers
    wanted = look.look_at_filters(model[0].weight.detach().numpy())
    assert rows["0"]["clean_ratio"] == wanted.clean_ratio > 1.03 * rows["0"]["ratio"]
    assert rows["1"]["shapes"] == "gaussian 25%"


def test_facts_that_many_inputs_show():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 9, padding=4), nn.MaxPool2d(2), nn.Conv2d(4, 4, 9, padding=4),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ).eval()  # fmt: skip
    data = torch.randn(32, 3, 16, 16)
    report = inspect(model, X, data=data, level="full")
    moved = certify.equivariance(model, "fractional shift", data[:8], count=4)
    assert report.layers[WHOLE]["subpixel"] == moved.mean > 0
    assert report.layers["0"]["subpixel"] == next(row.error for row in moved.rows if row.name == "0")
    borders = look.border_influence(model, X)
    assert 0 < borders.depth < len(borders.layers)
    assert report.facts["margins reach the centre"] == f"at {borders.layers[borders.depth][0]}"
    eps = 0.01 * X.double().std(correction=0).item()
    best = int(model(X)[0].argmax())
    (bound,) = certify.local_lipschitz(model, X, eps, outputs=[best])
    assert report.facts["local l∞ bound"] == pytest.approx(bound.upper)
    row = look.efficiency(model, X, roof=look.Roof(1e11, 1e10)).rows[0]
    assert report.layers["0"]["next"].startswith(f"{row.next[0]}, ")
    x = X.clone().requires_grad_()
    model(x)[0, best].backward()
    assert x.grad.abs().sum() <= report.facts["local l∞ bound"]


class Repeats(nn.Module):
    """Every second place, twice."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 1, 1, bias=False)

    def forward(self, x):
        return nn.functional.interpolate(self.a(x[..., ::2, ::2]), scale_factor=2)


def test_the_spectrum_of_what_enlarges_beside_that_of_the_data():
    """Of an autoencoder that only halves and repeats; results of another size have no such number."""
    model = Repeats().eval()
    nn.init.ones_(model.a.weight)
    x = torch.randn(20, 1, 16, 16, generator=torch.Generator().manual_seed(0)).cumsum(2).cumsum(3)
    found = generator.fill(Subject(read(model, x[:1]), "full", model, x[:1], batch=x))[WHOLE]
    with torch.no_grad():
        assert found["profile"] == look.profile_deviation(x[:16], model(x[:16])) > 0.05
    larger = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3, padding=1)).eval()
    other = generator.fill(Subject(read(larger, x[:1]), "full", larger, x[:1], batch=x))[WHOLE]
    assert other["replica"] > 0
    assert other["profile"] is None
