"""The measure of symmetries: known errors, where they arise, decisions, own actions, pictures; the model is left as it is."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from faltung import nn as ours
from faltung.certify import equivariance
from faltung.certify.actions import Action, ContourMotion, Declared, GridTurn, Scale, Shift, SpaceMotion, Turn, named
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
    for symmetry in (s for s in layer.symmetries() if s.fits(*inputs)):
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


# Fields


@pytest.fixture
def in_double():
    """Tables of couplings are made in the default dtype; a layer that becomes double later keeps those of single precision."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(usual)


def stirred(module, seed=0):
    """Parameters and running statistics that treat no two channels alike."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.2 * torch.randn_like(value))
        for name, value in module.named_buffers():
            if name.endswith("running_mean"):
                value.add_(0.3 * torch.randn_like(value))
            elif name.endswith("running_var"):
                value.mul_(0.5 + torch.rand_like(value))
    return module.double()


def grouped(group, ndim, between=(), kind="regular", padding_mode="zeros"):
    common = {"kernel_size": 3, "group": group, "padding": 1, "padding_mode": padding_mode}
    return stirred(
        nn.Sequential(
            ours.GroupConv(ndim, 1, 2, in_type="trivial", out_type=kind, **common),
            ours.GroupBatchNorm(ndim, 2, group, kind), nn.ReLU(), *between,
            ours.GroupConv(ndim, 2, 2, in_type=kind, out_type=kind, **common),
            ours.GroupPool(ndim, 2, group, kind, pool="norm"),
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("group", "elements", "sizes", "mode"),
    [
        ("p4", "p4", (5, 5), "zeros"), ("p4m", "p4m", (5, 4), "zeros"), ("p4m", "D4", (5, 5), "zeros"),
        ("p4m", "C4", (4, 4), "zeros"), ("p6", "p6", (5, 5), "circular"), ("p6m", "p6m", (4, 4), "circular"),
        ("o", "o", (3, 3, 3), "zeros"), ("oh", "oh", (3, 3, 3), "zeros"), ("oh", "o", (4, 3, 3), "zeros"),
    ],
)  # fmt: skip
def test_fields_on_groups_keep_it_at_every_step(group, elements, sizes, mode):
    """The lift, the norm, the activation, the group convolution and the pool, each against its own fields."""
    report = equivariance(grouped(group, len(sizes), padding_mode=mode), elements, images(2, 1, *sizes), count=8)
    assert report.kept
    assert report.lost == ()
    assert [row.kind for row in report.rows] == ["GroupConv", "GroupBatchNorm", "ReLU", "GroupConv", "GroupPool"]
    assert all(row.error is not None and row.error < 1e-12 for row in report.rows), str(report)


@pytest.mark.parametrize(
    ("breaker", "kind"),
    [
        (lambda: nn.BatchNorm2d(16), "BatchNorm2d"),
        (lambda: nn.Conv2d(16, 16, 3, padding=1), "Conv2d"),
        (lambda: nn.ChannelShuffle(2), "ChannelShuffle"),
        (lambda: nn.GroupNorm(4, 16), "GroupNorm"),
    ],
)
def test_what_breaks_fields_is_found_by_name(breaker, kind):
    report = equivariance(grouped("p4m", 2, [breaker()]), "p4m", images(2, 1, 5, 5))
    assert not report.kept
    assert [row.kind for row in report.lost] == [kind], str(report)


def test_fields_of_subgroups_and_a_group_too_small_are_told_apart():
    """A network of c4 keeps c4; a mirror is lost where its fields are made, and where a field on a group is restricted."""
    c4 = grouped("c4", 2)
    assert equivariance(c4, "p4", images(1, 1, 5, 5)).kept
    mirrored = equivariance(c4, "p4m", images(1, 1, 5, 5))
    assert mirrored.lost[-1].name == "0" or mirrored.lost[0].name == "0", str(mirrored)
    assert equivariance(grouped("p4m", 2, kind="c2"), "p4m", images(1, 1, 4, 5)).lost == ()
    down = stirred(
        nn.Sequential(
            ours.GroupConv2d(1, 2, 3, "d4", "trivial", padding=1), ours.GroupDownsample2d(2, "d4", "c4"),
            ours.GroupConv2d(2, 1, 3, "c4"),
        )
    )  # fmt: skip
    assert equivariance(down, "C4", images(1, 1, 5, 5)).lost == ()
    assert [row.kind for row in equivariance(down, "D4", images(1, 1, 5, 5)).lost] == ["GroupDownsample"]


def test_functions_and_branches_pass_fields_on():
    class Net(nn.Module):
        def __init__(self, mixed):
            super().__init__()
            self.lift = ours.GroupConv2d(1, 1, 3, "p4m", "trivial", padding=1)
            self.conv = ours.GroupConv2d(2, 1, 3, "p4m", padding=1)
            self.mixed = mixed

        def forward(self, x):
            one = self.lift(x)
            both = torch.cat([one, one.tanh()], 1)
            y = one + self.conv(both) * one.mean(1, keepdim=True).sigmoid()
            y = y.roll(1, 1) if self.mixed else y
            return y.mean((2, 3))

    kept, broken = (equivariance(stirred(Net(mixed)), "p4m", images(2, 1, 4, 5)) for mixed in (False, True))
    assert kept.kept, "the result is a vector of values on the group, which are permuted"
    assert kept.lost == ()
    assert kept.consistency is None
    assert [row.kind for row in broken.lost] == ["roll"]
    again = equivariance(stirred(Net(False)), "p4m", images(2, 1, 4, 5), layers="modules")
    assert again.lost == ()
    without = equivariance(stirred(Net(False)), "p4m", images(2, 1, 4, 5), layers=None)
    assert without.kept
    assert without.rows == ()


@pytest.mark.parametrize(("group", "elements"), [("so2", "C4"), ("o2", "D4"), ("o2", "p4m")])
def test_steerable_fields_keep_it_at_every_step(group, elements):
    fields = "2x0 + 0- + 1 + 2" if group == "o2" else "2x0 + 1 + 2"
    gates = ours.GatedFields(fields, group).gates

    def net(act):
        return stirred(
            nn.Sequential(
                ours.SteerableConv("0 + 1", fields, 5, group, padding=2), ours.NormReLU(fields, group),
                ours.SteerableConv(fields, f"{fields} + {gates}x0", 5, group, padding=2), ours.GatedFields(fields, group), act,
                ours.SteerableConv(fields, "1", 5, group),
            )
        )  # fmt: skip

    x = images(2, 3, 7, 7)
    assert equivariance(net(nn.Identity()), elements, x).lost == ()
    assert equivariance(net(nn.Identity()), elements, x).kept, "the result is a vector field, which turns"
    assert [row.kind for row in equivariance(net(nn.ReLU()), elements, x).lost] == ["ReLU"]


@pytest.mark.usefixtures("in_double")
def test_volumes_of_fields():
    x = images(1, 1, 3, 3, 3)
    net = stirred(
        nn.Sequential(ours.VoxelConv("0e", "2x0e + 1o", 3, padding=1), ours.VoxelConv("2x0e + 1o", "1o", 3, padding=1))
    )
    assert equivariance(net, "oh", x, count=6).lost == ()
    odd = stirred(nn.Sequential(net[0], nn.Tanh(), net[1]))
    assert equivariance(odd, "o", x, count=6).kept, (
        "a vector's numbers change places and signs, as an odd function does"
    )
    broken = stirred(nn.Sequential(net[0], nn.ReLU(), net[1]))
    assert [row.kind for row in equivariance(broken, "o", x, count=6).lost] == ["ReLU"]


@pytest.mark.usefixtures("in_double")
def test_turns_between_the_quarters_carry_fields_too():
    """A field of vectors turned by 45° is off by interpolation, and by far more where its vectors stay as they are."""
    layer, x = ours.SteerableConv("0", "1", 7, padding=3).double(), smooth(1, 1, 25, 25)
    followed = equivariance(layer, "C8", x)
    assert followed.error < 0.1
    assert equivariance(lambda v: layer(v), "C8", x).error > 0.5


def test_kinds_of_functions_are_given():
    layer, x = ours.GroupConv2d(1, 1, 3, "p4m", padding=1).double(), images(1, 8, 4, 4)
    assert equivariance(lambda v: layer(v), GridTurn("p4m", "regular", "regular"), x).kept
    assert not equivariance(lambda v: layer(v), GridTurn("p4m"), x).kept
    assert equivariance(layer, "p4m", x).kept, "a layer says what it takes"


class Cloud(nn.Module):
    """Messages along edges, a product with themselves, and a breaker where one is planted."""

    def __init__(self, breaker=None):
        super().__init__()
        self.first = ours.SO2Conv(2, 3, 2, 2, bias=True)
        self.product = ours.GauntProduct(3, 2, 2, 2)
        self.between = nn.Identity() if breaker is None else breaker
        self.last = ours.SO2Conv(3, 1, 2, 1)

    def forward(self, x, edge):
        y = self.first(x, edge)
        y = self.between(y + self.product(y, y))
        return self.last(y, edge)


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("layers", ["graph", "modules"])
def test_features_of_edges_turn(layers):
    x, edge = images(6, 9, 2), images(6, 3)
    report = equivariance(stirred(Cloud()), "SO(3)", (x, edge), count=8, layers=layers)
    assert report.kept
    assert report.lost == ()
    assert all(row.error < 1e-12 for row in report.rows)
    mirrored = equivariance(stirred(Cloud()), "O(3)", (x, edge), count=8, layers=layers)
    assert "SO2Conv" in [row.kind for row in mirrored.lost], "blocks about an edge know left from right"
    broken = equivariance(stirred(Cloud(nn.SiLU())), "SO(3)", (x, edge), count=8, layers=layers)
    assert [row.name for row in broken.lost] == ["between"], str(broken)


class Points(nn.Module):
    def __init__(self, breaker=None):
        super().__init__()
        self.first = ours.PointConv("2x0e", "2x0e + 2x1o + 2e", 4.0)
        self.breaker = nn.Identity() if breaker is None else breaker
        self.last = ours.PointConv("2x0e + 2x1o + 2e", "0e + 1o + 1e", 4.0)

    def forward(self, features, positions):
        return self.last(self.breaker(self.first(features, positions)), positions)


@pytest.mark.usefixtures("in_double")
def test_features_of_points_move():
    inputs = images(2, 5, 2), images(2, 5, 3)
    report = equivariance(stirred(Points()), "E(3)", inputs, count=8)
    assert report.kept
    assert report.lost == ()
    assert {e.words.startswith("mirrored") for e in report.elements} == {False, True}
    assert all("moved by" in e.words for e in report.elements)
    for breaker in (nn.ReLU(), nn.LayerNorm(13)):
        broken = equivariance(stirred(Points(breaker)), "SE(3)", inputs, count=8)
        assert [row.name for row in broken.lost] == ["breaker"], str(broken)
    centred = equivariance(lambda f, p: p - p.mean(1, keepdim=True), SpaceMotion("E(3)", "stay", "points"), inputs)
    assert not centred.kept, "what nobody speaks for is an invariant"
    assert equivariance(lambda f, p: torch.cdist(p, p), SpaceMotion("E(3)", "stay", "points"), inputs).kept
    assert not equivariance(lambda f, p: p.norm(dim=2), SpaceMotion("E(3)", "stay", "points"), inputs).kept
    assert equivariance(lambda f, p: p.norm(dim=2), SpaceMotion("O(3)", "stay", "points"), inputs).kept


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize(
    ("dims", "count", "group"), [(2, 5, "SE(2)"), (3, 6, "E(3)"), (3, 12, "SE(3)"), (3, 20, "SE(3)")]
)
def test_functions_of_directions_move(dims, count, group):
    inputs = images(1, 4, count, 2), images(1, 4, dims)
    block = ours.PositionOrientationBlock(2, count, 3.0, dims, hidden=4, degree=2).double()
    assert equivariance(stirred(block), group, inputs, count=8).kept

    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.last = block, nn.LayerNorm((count, 2))

        def forward(self, features, positions):
            return self.last(self.block(features, positions))

    assert [row.name for row in equivariance(stirred(Broken()), group, inputs, count=8).lost] == ["last"]


def test_motions_are_drawn_by_haars_measure():
    """The mean of many rotations is 0, that of the squares of their entries a third; half of O(3) are mirrors."""
    action, random = SpaceMotion("O(3)", "points"), np.random.default_rng(0)
    drawn = torch.stack([action.sample(random, None)[0] for _ in range(4000)])
    assert torch.allclose(drawn @ drawn.mT, torch.eye(3).double().expand_as(drawn), atol=1e-12)
    assert drawn.mean(0).abs().max() < 0.05
    assert (drawn.square().mean(0) - 1 / 3).abs().max() < 0.03
    assert abs((torch.linalg.det(drawn) < 0).double().mean() - 0.5) < 0.03


def test_wrong_fields_are_refused():
    with pytest.raises(ArgumentError, match="an input that turns"):
        equivariance(nn.Bilinear(3, 3, 3).double(), "SE(3)", (images(2, 4, 3), images(2, 4, 3)))
    with pytest.raises(ArgumentError):
        SpaceMotion("U(3)")
    with pytest.raises(ArgumentError):
        equivariance(torch.relu, "oh", images(1, 1, 4, 4))
    with pytest.raises(ArgumentError, match="rows"):
        equivariance(torch.relu, "p6", images(1, 1, 4, 5))
    alone = ours.PositionOrientationConv(1, 1, 2.0).double()
    with pytest.raises(ArgumentError, match="directions"):
        equivariance(alone, "SE(3)", (images(1, 3, 1, 1), images(1, 3, 3)))


@pytest.mark.usefixtures("in_double")
def test_nonlinear_nets_of_volumes_and_of_points():
    """Norms and gates of fields, on grids and on points; a relu between them is found."""
    wide, fields = "2x0e + 2x1o + 2x0e", "2x0e + 2x1o"  # gates stand behind
    volumes = nn.Sequential(
        ours.VoxelConv("0e", wide, 3, padding=1), ours.GatedFields(fields, "o3"), ours.FieldBatchNorm(fields, "o3"),
        ours.NormReLU(fields, "o3"), ours.VoxelConv(fields, "1o", 3, padding=1),
    )  # fmt: skip
    x = images(2, 1, 3, 3, 3)
    assert equivariance(stirred(volumes), "oh", x, count=5).lost == ()
    volumes[3] = nn.ReLU()
    assert [row.kind for row in equivariance(stirred(volumes), "o", x, count=5).lost] == ["ReLU"]

    class Cloud(nn.Module):
        def __init__(self, bend):
            super().__init__()
            self.one, self.two = ours.PointConv("0e", wide, 4.0), ours.PointConv(fields, "0e + 1o", 4.0)
            self.gates, self.norm, self.bend = (
                ours.GatedFields(fields, "o3", last=True),
                ours.FieldBatchNorm(fields, last=True),
                bend,
            )

        def forward(self, features, positions):
            return self.two(self.bend(self.norm(self.gates(self.one(features, positions)))), positions)

    inputs = images(1, 5, 1), images(1, 5, 3)
    assert equivariance(stirred(Cloud(ours.NormReLU(fields, "o3", last=True))), "E(3)", inputs, count=6).lost == ()
    assert [row.name for row in equivariance(stirred(Cloud(nn.ReLU())), "E(3)", inputs, count=6).lost] == ["bend"]


@pytest.mark.usefixtures("in_double")
def test_messages_between_points():
    messages = stirred(ours.ESCNConv(2, 3, 2, 1))
    edges = torch.tensor([[0, 1, 2, 3], [1, 2, 0, 1]])

    class Messages(nn.Module):
        def __init__(self):
            super().__init__()
            self.messages = messages

        def forward(self, features, vectors):
            return self.messages(features, vectors, None, edges)

    inputs = images(4, 9, 2), images(4, 3)
    assert equivariance(Messages(), "SO(3)", inputs, count=5).lost == ()
    radial = stirred(ours.RadialConv(3, 4.0))
    assert (
        equivariance(radial, SpaceMotion("E(3)", "stay", "points"), (images(1, 5, 3), images(1, 5, 3)), count=5).lost
        == ()
    )
