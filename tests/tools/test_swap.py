"""Swapping layers: which are chosen, what carries over and how well, and that a refused swap changes nothing."""

import sys
from pathlib import Path

import pytest
import torch
from torch.nn.utils import parametrizations, weight_norm

from faltung import nn, tools
from faltung.errors import ArgumentError, DtypeError

sys.path.insert(0, str(Path(__file__).parent))
from structured import Depthwise, Gated, LowRank, Masked, Merged, Weighted

SETTINGS = [
    {"kernel_size": 3},
    {"kernel_size": 3, "stride": 2, "padding": 1, "bias": False},
    {"kernel_size": (3, 2), "padding": (1, 0), "dilation": (2, 1)},
    {"kernel_size": 3, "groups": 2, "padding": "same", "padding_mode": "circular"},
    {"kernel_size": 3, "groups": 4, "padding": 2, "padding_mode": "reflect", "dtype": torch.float64},
]


class Block(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(channels, channels, 3, padding=1, groups=2)
        self.norm = torch.nn.BatchNorm2d(channels)

    def forward(self, x):
        return x + self.norm(self.conv2(self.conv1(x).relu()))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.stage1 = torch.nn.Sequential(Block(4), Block(4))
        self.heads = torch.nn.ModuleDict({"a": torch.nn.Conv2d(4, 2, 1), "b": torch.nn.Conv2d(4, 2, 1)})
        self.line = torch.nn.Conv1d(2, 2, 3, padding=1)
        self.twice = self.stem

    def forward(self, x):
        x = self.stage1(self.stem(x))
        return self.line((self.heads["a"](x) * self.heads["b"](x)).flatten(2))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}, repr(model), list(model.modules())


def unchanged(model, before):
    values, text, modules = before
    same = all(torch.equal(value, values[name]) for name, value in model.state_dict().items())
    return same and repr(model) == text and all(a is b for a, b in zip(model.modules(), modules, strict=True))


# What carries over


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", ["Conv2d", "CoordConv2d", nn.Conv, nn.CoordConv, Weighted])
def test_all_settings_and_weights_carry_over(kind, settings):
    torch.manual_seed(0)
    old = torch.nn.Conv2d(4, 8, **settings)
    report = tools.swap(torch.nn.Sequential(old), kind)
    x = torch.randn(2, 4, 9, 8, dtype=old.weight.dtype)
    new = report.model[0]
    torch.testing.assert_close(new(x), old(x), rtol=1e-4, atol=1e-5)
    (row,) = report
    assert row.transfer == "exact"
    assert row.output_difference < 1e-6
    for name in ("in_channels", "out_channels", "kernel_size", "stride", "groups", "padding_mode"):
        assert getattr(new, name) == getattr(old, name)
    assert new.padding == old.padding
    assert (new.bias is None) == (old.bias is None)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_dimension_follows_the_layer(ndim):
    kind = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)[ndim - 1]
    report = tools.swap(torch.nn.Sequential(kind(2, 3, 3)), Weighted)
    assert report.model[0].ndim == ndim
    assert report.rows[0].transfer == "exact"


def test_kernels_that_cannot_be_are_as_close_as_can_be(net):
    report = tools.swap(net, Masked, "stage1.*.conv1", sample=X)
    for row in report:
        old, new = net.get_submodule(row.names[0]), report.model.get_submodule(row.names[0])
        torch.testing.assert_close(new.kernel(), old.weight * new.mask, rtol=1e-5, atol=1e-6)
        assert row.transfer == "least squares"
        wanted = ((old.weight * (1 - new.mask)).norm() / old.weight.norm()).item()
        assert abs(row.kernel_difference - wanted) < 1e-5
        assert row.output_difference > 0.1
    wanted = ((report.model(X) - net(X)).norm() / net(X).norm()).item()
    assert abs(report.output_difference - wanted) < 1e-5


def test_low_rank_depthwise_and_other_layers(net):
    row = tools.swap(net, LowRank, "stem").rows[0]
    assert row.transfer == "least squares"
    assert 0.1 < row.kernel_difference < 0.8
    dense = tools.swap(net, Depthwise, "stage1.0.conv1")
    new, old = dense.model.stage1[0].conv1, net.stage1[0].conv1
    torch.testing.assert_close(new.weight[:, 0], old.weight[range(4), range(4)], rtol=1e-5, atol=1e-6)
    assert dense.rows[0].notes == ("its bias did not carry over",)
    row = tools.swap(net, Gated, "stem").rows[0]
    assert (row.transfer, row.kernel_difference) == ("none", None)
    assert row.output_difference > 0.1


def test_smaller_kernels_stand_among_zeros_where_they_meet_the_same_samples(net):
    x = torch.randn(1, 3, 9, 9)
    for settings in ({"kernel_size": 5}, {"kernel_size": 7, "padding": 3}, {"kernel_size": (3, 9)}):
        report = tools.swap(net, Weighted, "stem", **settings)
        assert report.rows[0].transfer == "exact"
        torch.testing.assert_close(report.model.stem(x), net.stem(x), rtol=1e-4, atol=1e-5)
    dilated = torch.nn.Sequential(torch.nn.Conv1d(2, 2, 3, dilation=3, padding=3))
    report = tools.swap(dilated, "Conv1d", kernel_size=7, dilation=1)
    assert report.model[0].padding == (3,)
    x = torch.randn(1, 2, 12)
    torch.testing.assert_close(report.model(x), dilated(x), rtol=1e-4, atol=1e-5)


def test_without_transfer_layers_start_from_their_own_values(net):
    torch.manual_seed(3)
    wanted = Weighted(2, 3, 4, 3, padding=1)
    torch.manual_seed(3)
    report = tools.swap(net, Weighted, "stem", transfer=False)
    assert torch.equal(report.model.stem.weight, wanted.weight)
    assert report.rows[0].transfer == "none"


def test_there_and_back(net):
    there = tools.swap(net, Weighted, "stage1.*")
    back = tools.swap(there.model, torch.nn.Conv2d, where=Weighted)
    assert len(back) == 4
    assert all(type(m) is not Weighted for m in back.model.modules())
    torch.testing.assert_close(back.model(X), net(X), rtol=1e-4, atol=1e-5)
    assert repr(back.model) == repr(net)
    up = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3), torch.nn.ConvTranspose2d(2, 3, 3, 2, output_padding=1))
    ours = tools.swap(up, "ConvTranspose2d")
    assert [row.names for row in ours] == [("1",)]
    x = torch.randn(1, 2, 6, 6)
    torch.testing.assert_close(ours.model(x), up(x), rtol=1e-4, atol=1e-5)
    assert repr(tools.swap(ours.model, torch.nn.ConvTranspose2d).model) == repr(up)
    assert tools.swap(up, nn.ConvTranspose, padding_mode="circular").rows[0].transfer == "exact"


def test_kernels_that_exist_in_evaluation_mode_only(net):
    report = tools.swap(net.train(), Merged, ["stem", "stage1.*"], kernel_size=5)
    assert all(row.transfer == "exact" for row in report)
    assert all(m.training for m in report.model.modules())
    torch.testing.assert_close(report.model.eval()(X), net.eval()(X), rtol=1e-4, atol=1e-5)


def test_functions_make_layers_too(net):
    def make(conv, density):
        layer = Weighted(conv.ndim, conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding)
        torch.nn.init.constant_(layer.density, density)
        return layer

    report = tools.swap(net, make, "stem", density=2.0)
    assert report.rows[0].transfer == "exact"
    torch.testing.assert_close(report.model.stem(X), net.stem(X), rtol=1e-4, atol=1e-5)
    assert tools.swap(net, lambda conv: torch.nn.Sequential(conv.to_torch()), "stem").rows[0].transfer == "none"


def test_devices_types_modes_and_frozen_layers_are_kept(net):
    net.double().train()
    net.stem.requires_grad_(False)
    report = tools.swap(net, Weighted, ["stem", "stage1.*"])
    assert all(p.dtype == torch.float64 for p in report.model.parameters())
    assert not any(p.requires_grad for p in report.model.stem.parameters())
    assert all(p.requires_grad for p in report.model.stage1.parameters())
    assert all(m.training for m in report.model.modules())
    there = tools.swap(torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3, device="meta")), "CoordConv2d")
    assert there.model[0].weight.is_meta
    assert (there.rows[0].transfer, there.rows[0].output_difference) == ("none", None)


def test_parametrized_and_complex_layers(net):
    parametrizations.weight_norm(net.stem)
    assert tools.swap(net, "Conv2d", "stem", sample=X).output_difference < 1e-6
    model = torch.nn.Sequential(nn.Conv1d(2, 3, 3, dtype=torch.complex64))
    report = tools.swap(model, Weighted)
    assert report.rows[0].transfer == "exact"
    assert report.model[0].weight.dtype == torch.complex64


# What is chosen


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        (None, {"stem", "stage1.0.conv1", "stage1.0.conv2", "stage1.1.conv1", "stage1.1.conv2", "heads.a", "heads.b"}),
        ("stem", {"stem"}),
        ("twice", {"stem"}),
        ("stage1.*", {"stage1.0.conv1", "stage1.0.conv2", "stage1.1.conv1", "stage1.1.conv2"}),
        ("*.conv[1]", {"stage1.0.conv1", "stage1.1.conv1"}),
        (["heads.a", "stem"], {"heads.a", "stem"}),
        (lambda name, module: module.groups > 1, {"stage1.0.conv2", "stage1.1.conv2"}),
        (["stem", lambda name, module: name.endswith("b")], {"stem", "heads.b"}),
    ],
)
def test_names_patterns_and_functions_choose(net, where, wanted):
    report = tools.swap(net, "Conv2d", where)
    assert {row.names[0] for row in report} == wanted
    for name, module in report.model.named_modules():
        if isinstance(module, (nn.Conv, torch.nn.Conv2d)):
            assert isinstance(module, nn.Conv) == (name in wanted), name
    torch.testing.assert_close(report.model(X), net(X), rtol=1e-4, atol=1e-5)


def test_classes_choose_and_classes_without_dimension_take_all(net):
    assert {row.names[0] for row in tools.swap(net, "Conv1d", torch.nn.Conv1d)} == {"line"}
    assert len(tools.swap(net, nn.Conv)) == 8
    ours = tools.swap(net, nn.Conv).model
    assert {row.names[0] for row in tools.swap(ours, Weighted, nn.Conv1d)} == {"line"}
    assert len(tools.swap(ours, Weighted)) == 8


def test_parts_of_our_layers_are_left_to_them(net):
    model = torch.nn.Sequential(nn.AxisConv2d(2, 3), torch.nn.Conv2d(3, 3, 3))
    assert [row.names for row in tools.swap(model, "CoordConv2d")] == [("1",)]
    assert len(tools.swap(model, "CoordConv2d", "0.convs.*")) == 3


def test_a_module_in_several_places_stays_one(net):
    report = tools.swap(net, Weighted, "twice")
    assert report.model.stem is report.model.twice
    assert type(report.model.stem) is Weighted
    assert report.rows[0].names == ("stem", "twice")
    layer = torch.nn.Conv2d(2, 2, 3, padding=1)
    report = tools.swap(torch.nn.Sequential(layer, torch.nn.ReLU(), layer), Weighted)
    assert report.model[0] is report.model[2]
    assert len(report) == 1


def test_shared_parameters_are_kept_or_mentioned(net):
    net.heads["b"].weight = net.heads["a"].weight
    kept = tools.swap(net, "Conv2d")
    assert kept.model.heads["a"].weight is kept.model.heads["b"].weight
    assert not any(row.notes for row in kept)
    lost = tools.swap(net, Weighted, "heads.a")
    assert lost.rows[0].notes == ("shared a parameter with heads.b.weight, and no longer does",)
    assert "heads.b.weight" in str(lost)


def test_the_model_itself_may_be_the_layer():
    conv = torch.nn.Conv2d(2, 3, 3)
    report = tools.swap(conv, Weighted, sample=torch.randn(1, 2, 5, 5))
    assert type(report.model) is Weighted
    assert report.output_difference < 1e-6
    assert "(the model)" in str(report)


# In place or not, and what is reported


def test_copies_leave_the_model_alone_and_in_place_keeps_parameters(net):
    before = state(net)
    report = tools.swap(net, "Conv2d", sample=X)
    assert unchanged(net, before)
    assert report.model is not net
    stem, weight = net.stem, net.stem.weight
    report = tools.swap(net, "Conv2d", copy=False)
    assert report.model is net
    assert net.stem is not stem
    assert net.stem.weight is weight  # so that an optimizer goes on


def test_a_sample_leaves_modes_and_statistics_alone(net):
    net.train()
    net.stage1[0].eval()
    modes = [m.training for m in net.modules()]
    statistics = {name: value.clone() for name, value in net.named_buffers()}
    report = tools.swap(net, "Conv2d", sample=X, copy=False)
    assert [m.training for m in report.model.modules()] == modes
    assert all(torch.equal(value, statistics[name]) for name, value in net.named_buffers())
    assert report.output_difference < 1e-6


def test_the_report_is_a_table(net):
    report = tools.swap(net, Masked, ["stem", "stage1.0.*"], sample=(X,))
    lines = str(report).splitlines()
    assert lines[0].split("  ")[0] == "layer"
    assert len(lines) == 1 + 3 + 1
    assert "stem = twice" in lines[1]
    assert "Conv2d → Masked" in lines[1]
    assert "112 → 112" in lines[1]
    assert "least squares" in lines[1]
    assert "model's result" in lines[-1]
    assert repr(report) == str(report)
    assert report.rows[0].before.startswith("Conv2d(3, 4")
    assert report.rows[0].parameters == (112, 112)


# Refusals


class Scaled(torch.nn.Conv2d):
    """A convolution that computes something else with its weight."""

    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("target", "where", "settings", "said"),
    [
        ("Conv2d", "sten", {}, "'stem'"),
        ("Conv2d", "stage1.*.norm", {}, "no such layer"),
        ("Conv2d", "line", {}, "no such layer"),
        ("Conv2d", ["stem", "nothing"], {}, "nothing is called so"),
        ("Conv2d", lambda name, module: False, {}, "none among those chosen"),
        ("Conv2d", torch.nn.Linear, {}, "none among those chosen"),
        ("Conv2d", 3, {}, "a name, a class or a function"),
        ("Conv3d", None, {}, "the model has none"),
        ("Konv2d", None, {}, "near it: Conv2d"),
        ("Conv2d", None, {"kernel": 5}, "settings of Conv2d"),
        (Weighted, "stem", {"kernel_size": 2}, "give the padding"),
        (Weighted, "stem", {"kernel_size": 5, "padding": 0}, "do not fit"),
        (Weighted, "stem", {"out_channels": 8}, "channels"),
        (Weighted, "stem", {"groups": 3}, "divide"),
        (Depthwise, "stem", {}, "one number of channels"),
        (Gated, "stage1.0.conv2", {}, "knows no groups"),
        (lambda conv: 3, "stem", {}, "not a module"),
        (lambda conv: torch.nn.Conv2d(3, 4, 3), "stem", {}, "results of shape"),
        (torch.nn.Conv2d, "stem", {"padding_mode": "symmetric"}, "torch has none"),
    ],
)
@pytest.mark.parametrize("copy", [True, False])
def test_refused_swaps_change_nothing(net, target, where, settings, said, copy):
    before = state(net)
    with pytest.raises(ArgumentError, match=said):
        tools.swap(net, target, where, copy=copy, **settings)
    assert unchanged(net, before)


def test_failures_late_in_a_swap_change_nothing(net):
    before = state(net)
    calls = []

    def make(conv):
        calls.append(conv)
        if len(calls) == 4:
            raise ValueError("the fourth")
        return Weighted(
            2, conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding, groups=conv.groups
        )

    with pytest.raises(ArgumentError, match="the fourth"):
        tools.swap(net, make, lambda name, m: isinstance(m, torch.nn.Conv2d), copy=False)
    assert unchanged(net, before)

    class Fussy(Weighted):
        def forward(self, x):
            if x.shape[0] == 2 and x.shape[-1] == 8 and self.armed:
                raise KeyError("only in the model")
            self.armed = self.armed or x is None
            return super().forward(x)

        armed = False

    def fussy(conv):
        layer = Fussy(2, 3, 4, 3, padding=1)
        layer.register_forward_hook(lambda *_: setattr(layer, "armed", True))  # fails from the second call on
        return layer

    with pytest.raises(KeyError, match="only in the model"):
        tools.swap(net, fussy, "stem", sample=X, copy=False)
    assert unchanged(net, before)


def test_layers_that_hide_what_they_compute_are_refused(net):
    net.stem = Scaled(3, 4, 3, padding=1)
    with pytest.raises(ArgumentError, match="no such layer"):
        tools.swap(net, "Conv2d", "stem")
    net.stem = torch.nn.LazyConv2d(4, 3, padding=1)
    with pytest.raises(ArgumentError, match="call the model once"):
        tools.swap(net, "Conv2d")
    net.stem = torch.nn.Conv2d(3, 4, 3, padding=1)
    with pytest.warns(FutureWarning, match="deprecated"):
        weight_norm(net.stem)
    with pytest.raises(ArgumentError, match="hooks on 'stem'"):
        tools.swap(net, "Conv2d", "stem", copy=False)


def test_wrong_models_and_targets_are_refused(net):
    with pytest.raises(DtypeError, match="torch module"):
        tools.swap([net], "Conv2d")
    for target in (3, int, None):
        with pytest.raises(DtypeError, match="a layer's name"):
            tools.swap(net, target)


def test_what_is_not_one_convolution_is_refused_by_name():
    from faltung.tools.convolutions import Place
    from faltung.tools.replacement import Target

    for layer in (nn.LongConv1d(3, 9), nn.SubPixelConv(1, 3, 3, 3, 2)):
        with pytest.raises(DtypeError, match=f"swap: .*{type(layer).__name__}"):
            Target.of("Conv1d", {}, True).replace(Place(("one",), layer), None)
