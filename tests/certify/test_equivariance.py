"""The measure of symmetries: known errors, where they arise, decisions, own actions, pictures; the model is left as it is."""

import copy

import pytest
import torch
from torch import nn

from faltung.certify import equivariance
from faltung.certify.actions import Action, ContourMotion, Declared, Scale, Shift, Turn, named
from faltung.errors import ArgumentError, DtypeError
from faltung.nn import Conv2d, PolyphaseDownsample2d, contours, phase
from faltung.nn.base import Symmetry, rolled
from faltung.testing.layers import cases


def images(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def smooth(*shape):
    """A few slow waves, which interpolation hardly hurts."""
    from faltung.nn.functional import low_pass

    return low_pass(images(*shape), 0.2, 2)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ).double()  # fmt: skip


def test_it_says_where_a_symmetry_is_lost():
    report = equivariance(network(), "shift", images(3, 1, 8, 8))
    assert not report.kept
    assert [row.name for row in report.lost] == ["3"]
    assert report.rows[2].error < 1e-12 < 1e-3 < report.rows[3].error
    assert "lost here" in str(report)
    assert report.seen == "the traced graph"


def test_graph_and_modules_agree_and_functions_are_steps_of_the_graph():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular").double()

        def forward(self, x):
            return nn.functional.avg_pool2d(self.conv(x).relu(), 2)

    class Deciding(Net):
        def forward(self, x):
            return super().forward(x) if x.sum() > -1e9 else x

    x = images(2, 1, 6, 6)
    by_graph, by_modules = (equivariance(Net(), "shift", x, layers=way) for way in ("graph", "modules"))
    assert [row.kind for row in by_graph.rows] == ["Conv2d", "relu", "avg_pool2d"]
    assert [row.kind for row in by_modules.rows] == ["Conv2d"]
    assert by_graph.lost[0].kind == "avg_pool2d"
    other = equivariance(Deciding(), "shift", x)
    assert other.seen.startswith("results of modules, because")
    with pytest.raises(ArgumentError):
        equivariance(Deciding(), "shift", x, layers="graph")


def test_the_model_is_left_as_it_is_to_the_bit():
    model = network().train()
    model[5].eval()
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    for way in ("graph", "modules"):
        equivariance(model, "shift", images(2, 1, 8, 8), layers=way)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert [m.training for m in model.modules()] == modes
    assert not any(m._forward_hooks for m in model.modules())


def test_known_errors():
    x = images(2, 1, 6, 6)
    position = torch.linspace(0, 1, 6).double()
    assert equivariance(lambda v: v.square(), "shift", x).error == 0
    assert equivariance(lambda v: v.square(), "fractional shift", x).error > 1e-2
    assert equivariance(lambda v: 3 * v, "fractional shift", x).error < 1e-14
    assert equivariance(lambda v: v + position, "shift", x).error > 0.1
    constant = equivariance(lambda v: 0 * v, "shift", x)
    assert (constant.error, constant.mean) == (0, 0)
    assert equivariance(lambda v: v.mean((2, 3)), "D4", x).error < 1e-14
    assert equivariance(lambda v: v.flatten(1), "shift", x).error > 0.5, "a vector is to stay"
    assert equivariance(lambda v: v / 0, "shift", x).error == float("inf")


def test_a_result_of_fewer_samples_moves_less():
    x = images(2, 1, 8, 8)
    assert equivariance(lambda v: v[..., ::2, ::2], Shift(), x).error > 0.1
    every = Shift(most=2)
    every.elements = lambda x: [(2, 4), (-2, 0)]
    assert equivariance(lambda v: v[..., ::2, ::2], every, x).error == 0


def test_up_to_a_roll():
    def chosen(v):
        return PolyphaseDownsample2d(2)(v)[0]

    x = images(3, 2, 8, 8)
    assert equivariance(chosen, "shift up to a roll", x).error == 0
    assert equivariance(chosen, "shift", x).error > 0.1
    assert equivariance(lambda v: v[..., ::2, ::2], "shift up to a roll", x).error > 0.1


def test_rotations_exact_and_resampled():
    x = smooth(2, 1, 24, 24)
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).double()[None, None]

    def laplace(v):
        return nn.functional.conv2d(v, kernel, padding=1)

    report = equivariance(laplace, "D4", x)
    assert report.error < 1e-13
    assert report.exhaustive
    assert len(report.elements) == 7
    assert report.interpolation == 0
    assert equivariance(lambda v: laplace(v).roll(1, -1), "C4", x).error > 0.1
    finer = equivariance(lambda v: v, "C8", x)
    assert 0 < finer.interpolation < 0.1
    assert finer.error < 0.1, "45° of a smooth picture"
    assert equivariance(lambda v: v.diff(dim=-1, append=v[..., :1]), "C8", x).error > 0.3
    with pytest.raises(ArgumentError):
        equivariance(lambda v: v[..., :-1], "C4", x)


def test_scales():
    x = images(2, 1, 15, 15)
    assert equivariance(lambda v: 2 * v, "scale", x).error < 1e-13
    assert equivariance(lambda v: v.relu(), Scale([9]), x).error > 1e-2


def test_decisions():
    x = images(6, 1, 4, 4)

    def first(v):
        return v[:, 0, 0, :2]

    report = equivariance(first, "shift", x)
    assert report.exhaustive
    shares = [
        ((first(x.roll((r, c), (2, 3)))).argmax(1) == first(x).argmax(1)) for r in range(4) for c in range(4) if r or c
    ]
    assert report.consistency == pytest.approx(torch.stack(shares).double().mean().item())
    assert report.steady == pytest.approx(torch.stack(shares).all(0).double().mean().item())
    assert equivariance(lambda v: v, "shift", x).consistency is None


def test_own_actions_and_declared_ones():
    class Brighter(Action):
        name = "brighter"

        def elements(self, x):
            return [0.5, 2.0]

        def apply(self, element, x):
            return element * x

    x = images(2, 3, 5)
    assert equivariance(torch.relu, Brighter(), x).error == 0
    assert equivariance(torch.sigmoid, Brighter(), x).error > 0.1
    layer = Conv2d(1, 2, 3, padding="same", padding_mode="circular").double()
    assert equivariance(layer, Declared(rolled(1, 2)), images(1, 1, 5, 5)).error < 1e-13
    assert equivariance(layer, Declared(Symmetry("sign", lambda v: -v)), images(1, 1, 5, 5)).error > 0.1
    both = equivariance(layer, Declared(rolled(1, 2), Symmetry("sign", lambda v: -v)), images(1, 1, 5, 5))
    assert [(e.words, e.error < 1e-13) for e in both.elements] == [("shift by 1", True), ("sign", False)]


def test_declared_symmetries_are_compared_in_every_result():
    """Lists in and tuples out; a second result that stays behind is seen."""

    def pair(x):
        return x.sum(1), x.square()

    mirrored = Symmetry("mirrored", lambda v: v.flip(-1), lambda v: v.flip(-1))
    assert equivariance(pair, Declared(mirrored), images(2, 3, 4)).error == 0
    assert equivariance(lambda x: (x, x.cumsum(-1)), Declared(mirrored), images(2, 3, 4)).error > 0.1
    with pytest.raises(ArgumentError, match="compares"):
        equivariance(lambda x: x.flatten(1), Declared(Symmetry("cut", lambda v: v[..., 1:])), images(2, 3, 4))
    assert isinstance(named("C6"), Turn)
    assert isinstance(named("contour"), ContourMotion)


@pytest.mark.parametrize("case", cases((*phase.ALL, *contours.ALL)), ids=lambda case: case.text[:60])
def test_declared_symmetries_hold_by_this_measure(case):
    layer, inputs = case.layer(), case.inputs()
    for symmetry in layer.symmetries():
        report = equivariance(layer, Declared(symmetry), inputs)
        assert report.error < 1e-10, symmetry.name
        assert report.kept


def test_a_sample_repeats_with_its_seed_and_counts_all_where_it_can():
    x = images(1, 1, 16, 16)
    reports = [equivariance(network(), "shift", x, count=5, seed=seed, layers=None) for seed in (1, 1, 2)]
    words = [[e.words for e in report.elements] for report in reports]
    assert words[0] == words[1] != words[2]
    assert not reports[0].exhaustive
    assert len(equivariance(network(), Shift(most=1), x, layers=None).elements) == 8


def test_pictures(tmp_path):
    report = equivariance(network(), "shift", images(2, 1, 8, 8))
    for ending in ("html", "svg", "png"):
        report.picture(tmp_path / f"lost.{ending}")
    page = (tmp_path / "lost.html").read_text()
    assert page.count("<rect") == 1 + len(report.rows)
    assert "#c0392b" in page
    assert (tmp_path / "lost.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ArgumentError):
        report.picture(tmp_path / "lost.jpg")
    with pytest.raises(ArgumentError):
        equivariance(torch.relu, "shift", images(1, 1, 4)).picture(tmp_path / "none.html")


def test_wrong_calls_are_refused():
    x = images(1, 1, 4)
    for wrong in ("turn", "C0", 3):
        with pytest.raises(ArgumentError):
            equivariance(torch.relu, wrong, x)
    with pytest.raises(ArgumentError):
        equivariance(torch.relu, "shift", x, layers="hooks")
    with pytest.raises(ArgumentError):
        equivariance(torch.relu, "scale", images(1, 1, 3))
    with pytest.raises(DtypeError):
        equivariance(torch.relu, "shift", torch.arange(4))
