"""Learnt positions: the laws of the kernels they make, the package that came first, and what training needs."""

import copy
import subprocess
import sys

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional, param_groups
from faltung.nn.functional.placed import FLOORS, INTERPOLATIONS, formula, formula_gradients, place, place_gradients
from faltung.nn.positions import DCLSConv, repulsion

KINDS = list(INTERPOLATIONS)
NORMALISED = ["bilinear_norm", "triangle", "gauss"]
F64 = torch.float64


def layer(ndim, *arguments, positions=None, **options):
    """A layer in float64 with drawn parameters, its positions anywhere in the window unless they are given."""
    made = DCLSConv(ndim, *arguments, dtype=F64, **options)
    with torch.no_grad():
        if positions is not None:
            made.positions.copy_(positions)
        else:
            for taps, at in zip(made._taps, made.positions, strict=True):
                at.uniform_(-(taps // 2), taps - 1 - taps // 2)
    return made


def near(got, wanted, tolerance=1e-10):
    torch.testing.assert_close(got, wanted, rtol=0, atol=tolerance * max(1.0, wanted.abs().max().item()))


# -- kernels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interpolation", "position", "wanted"),
    [
        ("gauss", 0.0, [0.000264, 0.106451, 0.786571, 0.106451, 0.000264]),
        ("gauss", 0.25, [0.000032, 0.035057, 0.704131, 0.259035, 0.001745]),
        ("gauss", 2.0, [0, 0, 0.000295, 0.119168, 0.880537]),
        ("triangle", 0.25, [0, 0, 0.75, 0.25, 0]),
        ("bilinear", 0.25, [0, 0, 0.75, 0.25, 0]),
    ],
)
def test_published_kernels_of_five_taps(interpolation, position, wanted):
    made = layer(1, 1, 1, 1, 5, interpolation=interpolation, positions=torch.tensor(position))
    torch.nn.init.ones_(made.weight)
    torch.testing.assert_close(made.effective_kernel().flatten(), torch.tensor(wanted, dtype=F64), rtol=0, atol=5e-7)


def test_rows_come_before_columns():
    at = torch.tensor([0.25, -0.5]).reshape(2, 1, 1, 1)
    made = layer(2, 1, 1, 1, 3, interpolation="bilinear", positions=at)
    torch.nn.init.ones_(made.weight)
    wanted = torch.tensor([[0, 0, 0], [0.375, 0.375, 0], [0.125, 0.125, 0]], dtype=F64)
    torch.testing.assert_close(made.effective_kernel()[0, 0], wanted, rtol=0, atol=0)


@pytest.mark.parametrize("interpolation", NORMALISED)
@pytest.mark.parametrize("window", [(5,), (4, 7), (3, 2, 5), (2, 3, 2, 3)])
def test_every_element_s_share_sums_to_one_anywhere_in_the_window(interpolation, window):
    n, count = len(window), 300
    least = torch.tensor([-(t // 2) for t in window]).reshape(n, 1, 1)
    at = least + torch.rand(n, count, 1) * (torch.tensor(window).reshape(n, 1, 1) - 1)
    at[:, :2] = torch.stack([least, least + torch.tensor(window).reshape(n, 1, 1) - 1], 1)[..., 0]  # two corners
    width = torch.randn(n, count, 1) * (interpolation != "bilinear_norm")
    for dtype in (torch.float32, F64):
        got = functional.placed(torch.ones(count, 1, dtype=dtype), at.to(dtype), width.to(dtype), window, interpolation)
        torch.testing.assert_close(got.flatten(1).sum(1), torch.ones(count, dtype=dtype), rtol=0, atol=1e-6)


@pytest.mark.parametrize("interpolation", KINDS)
def test_moving_all_positions_by_whole_taps_moves_the_kernel(interpolation):
    made = layer(2, 2, 3, 4, (31, 34), interpolation=interpolation, positions=torch.rand(2, 3, 2, 4) * 4 - 2)
    before = made.effective_kernel()
    with torch.no_grad():
        made.positions += torch.tensor([3.0, -5.0]).reshape(2, 1, 1, 1)
    near(made.effective_kernel(), before.roll((3, -5), (2, 3)))


def test_narrow_gaussians_tend_to_the_nearest_tap():
    at = torch.tensor([-1.3, 0.49, 0.51, 1.9, 2.0], dtype=F64).reshape(1, 5, 1)
    wanted = torch.eye(5, dtype=F64)[[1, 2, 3, 4, 4]]
    for width in (1e-2, 1e-3, 0.0):
        got = functional.placed(
            torch.ones(5, 1, dtype=F64), at, torch.full((), width, dtype=F64), 5, "gauss", floor=0.0
        )
        near(got, wanted, 1e-40 if width < 1e-2 else 1e-6)


@pytest.mark.parametrize("interpolation", KINDS)
def test_a_window_and_its_transpose(interpolation):
    one = layer(2, 2, 4, 3, (4, 9), interpolation=interpolation, groups=2, bias=False)
    other = layer(
        2, 2, 4, 3, (9, 4), interpolation=interpolation, groups=2, bias=False, positions=one.positions.flip(0)
    )
    other.load_state_dict({name: p if name == "weight" else p.flip(0) for name, p in one.state_dict().items()})
    x = torch.randn(2, 2, 11, 13, dtype=F64)
    near(other(x.mT), one(x).mT)


@pytest.mark.parametrize("taps", [4, 5, 6])
def test_positions_reach_every_tap_of_even_windows(taps):
    made = layer(1, 1, 1, 1, taps, interpolation="bilinear", positions=torch.tensor(-99.0))
    assert made.clamp_().effective_kernel().abs().argmax() == 0
    made.positions.data.fill_(99.0)
    assert made.clamp_().effective_kernel().abs().argmax() == taps - 1


def test_dense_axes_have_elements_of_their_own():
    made = layer(3, 2, 2, 2, (2, 5, 3), learn_axes=(-2,), interpolation="bilinear")
    assert made.weight.shape == (2, 2, 2, 3, 2)
    assert made.positions.shape == (1, 2, 2, 2, 3, 2)
    alone = functional.placed(
        made.weight[1, 0, 1, 2][None], made.positions[:, 1, 0, 1, 2][:, None], None, 5, "bilinear"
    )
    near(made.effective_kernel()[1, 0, 1, :, 2], alone[0])


# -- convolutions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1, "groups": 2},
        {"padding": "valid", "bias": False},
        {"padding": 3, "padding_mode": "reflect", "stride": 3},
        {"padding": "same", "padding_mode": "circular", "groups": 4},
    ],
)
def test_whole_positions_are_a_dilated_convolution(ndim, options):
    """Elements on a grid of step 3 are torch's layer of three taps with dilation 3."""
    grid = torch.cartesian_prod(*[torch.tensor([-3.0, 0.0, 3.0])] * ndim).reshape(-1, ndim).T
    shape = (4, 4 // options.get("groups", 1), grid.shape[1])
    ours = layer(
        ndim, 4, 4, grid.shape[1], 7, interpolation="bilinear", positions=grid[:, None, None].expand(ndim, *shape), **options
    )  # fmt: skip
    options = {"padding": "same", **options}
    theirs = getattr(torch.nn, f"Conv{ndim}d")(4, 4, 3, dilation=3, dtype=F64, **options)
    with torch.no_grad():
        theirs.weight.copy_(ours.weight.reshape(theirs.weight.shape))
        if ours.bias is not None:
            theirs.bias.copy_(ours.bias)
    x = torch.randn(2, 4, *[10] * ndim, dtype=F64)
    near(ours(x), theirs(x))


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_whole_positions_are_any_sparse_convolution(ndim):
    window = (5, 4, 3)[:ndim]
    ours = layer(ndim, 2, 6, 4, window, interpolation="bilinear", stride=2, padding=2).round_()
    theirs = getattr(torch.nn, f"Conv{ndim}d")(2, 6, window, stride=2, padding=2, dtype=F64)
    with torch.no_grad():
        theirs.bias.copy_(ours.bias)
        theirs.weight.zero_()
        for o, i, m in torch.cartesian_prod(torch.arange(6), torch.arange(2), torch.arange(4)).tolist():
            at = [int(p) + t // 2 for p, t in zip(ours.positions[:, o, i, m], window, strict=True)]
            theirs.weight[(o, i, *at)] += ours.weight[o, i, m]
    x = torch.randn(2, 2, *[9] * ndim, dtype=F64)
    near(ours(x), theirs(x))
    assert int((theirs.weight != 0).sum()) <= 6 * 2 * 4


@pytest.mark.parametrize("interpolation", KINDS)
@pytest.mark.parametrize("padding", ["same", 3])
def test_a_stride_takes_every_second_result(interpolation, padding):
    torch.manual_seed(3)
    one = layer(2, 6, 6, 5, 7, interpolation=interpolation, groups=6, padding=padding)
    two = layer(2, 6, 6, 5, 7, interpolation=interpolation, groups=6, padding=padding, stride=2)
    two.load_state_dict(one.state_dict())
    x = torch.randn(2, 6, 12, 13, dtype=F64)
    near(two(x), one(x)[..., ::2, ::2])


def test_parameters_are_counted():
    for interpolation, axes in (("bilinear", 3), ("gauss", 5)):
        made = DCLSConv(2, 6, 4, 7, 9, interpolation=interpolation, groups=2, bias=False)
        assert sum(p.numel() for p in made.parameters()) == made.parameter_count() == 4 * 3 * 7 * axes


def test_layers_move_after_a_call():
    made, x = DCLSConv(2, 2, 2, 3, 5), torch.randn(1, 2, 6, 6)
    wanted = made(x)
    near(made.double()(x.double()).float(), wanted, 1e-5)
    assert made.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
    assert made.to("meta")(x.bfloat16().to("meta")).shape == wanted.shape


# -- derivatives -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # torch on its own internals
@pytest.mark.parametrize("interpolation", KINDS)
@pytest.mark.parametrize("window", [(5,), (4, 3), (3, 2, 2, 3)])
def test_derivatives_of_first_and_second_order(interpolation, window):
    torch.manual_seed(0)
    n = len(window)
    position = (torch.rand(n, 2, 2, dtype=F64) * 0.8 + 0.1 - torch.randint(0, 2, (n, 2, 2))).requires_grad_()
    width = (torch.rand(n, 2, 2, dtype=F64) * 0.3 - 0.15).requires_grad_()
    weight = torch.randn(2, 2, dtype=F64, requires_grad=True)

    def call(*tensors):
        return functional.placed(*tensors, window, interpolation)

    torch.autograd.gradcheck(call, (weight, position, width))
    torch.autograd.gradcheck(call, (weight, position, width), check_forward_ad=True, check_backward_ad=False)
    torch.autograd.gradgradcheck(call, (weight, position, width), fast_mode=len(window) > 1)
    each = torch.randn(3, 2, 2, dtype=F64)
    batched = torch.vmap(lambda w: call(w, position, width))(each)
    near(batched[2], call(each[2], position, width))


@pytest.mark.parametrize("kind", ["linear", "shares", "gauss"])
@pytest.mark.parametrize("own", [True, False])
def test_the_operator_is_its_formula(kind, own):
    """In torch alone, as on other devices, and compiled: the same numbers, at kinks too."""
    torch.manual_seed(1)
    window = [5, 4, 3]
    w, p = torch.randn(40, 3, dtype=F64), (torch.randn(3, 40, 3, dtype=F64) * 1.5)
    p[:, ::3] = p[:, ::3].round()
    s = torch.randn(3, 40, 3, dtype=F64) * 0.2 if own else torch.zeros((), dtype=F64)
    if own:
        s[:, ::2] = 0
    floor = 0.27 if kind == "gauss" else 1.0
    y = torch.randn(40, *window, dtype=F64)
    near(place(w, p, s, window, kind, floor), formula(w, p, s, window, kind, floor))
    ours, wanted = place_gradients(y, w, p, s, window, kind, floor), formula_gradients(y, w, p, s, window, kind, floor)
    w, p, s = (a.clone().requires_grad_() for a in (w, p, s))
    traced = torch.autograd.grad((formula(w, p, s, window, kind, floor) * y).sum(), (w, p, s))
    for n in range(3 if own else 2):
        near(ours[n], wanted[n])
        near(ours[n], traced[n])


@pytest.mark.parametrize("interpolation", ["bilinear", "bilinear_norm", "triangle"])
def test_at_a_kink_the_derivative_is_the_mean_of_both_sides(interpolation):
    y = torch.randn(1, 5, dtype=F64)

    def value(at):
        tensors = torch.ones(1, 1, dtype=F64), torch.as_tensor(at, dtype=F64).reshape(1, 1, 1)
        return (functional.placed(*tensors, torch.zeros((), dtype=F64), 5, interpolation) * y).sum()

    for at in (-2.0, 0.0, 1.0):  # the border, too: an element there is not stuck
        p = torch.tensor(at, dtype=F64, requires_grad=True)
        (got,) = torch.autograd.grad(value(p.reshape(1, 1, 1)), p)
        near(got, (value(at + 1e-6) - value(at - 1e-6)) / 2e-6, 1e-5)
        assert got != 0


def test_triangles_widths_learn_from_their_first_value_on():
    made = layer(1, 1, 1, 2, 9, interpolation="triangle")
    assert not made.widths.any()
    made.effective_kernel().square().sum().backward()
    assert made.widths.grad.abs().min() > 0


def test_elements_beyond_the_window_and_nan():
    far = torch.tensor([1e30, -7.0, float("inf"), float("nan"), 0.0], dtype=F64).reshape(1, 5, 1)
    for interpolation in KINDS:
        got = functional.placed(torch.ones(5, 1, dtype=F64), far, None, 5, interpolation)
        assert got[3].isnan().all()
        assert got[[0, 1, 2, 4]].isfinite().all()
        if interpolation == "gauss":
            assert got[0, -1] == got[2, -1] == 1
            assert got[1, 0] > 0.99
        else:
            assert not got[:3].any()


# -- training ----------------------------------------------------------------------------------------------------------


def test_shared_positions_are_one_parameter():
    owner = DCLSConv(2, 4, 4, 3, 7, groups=4)
    other = DCLSConv(2, 4, 4, 3, 7, groups=4, share_positions=owner)
    assert other.positions is owner.positions
    assert other.widths is not owner.widths
    model = torch.nn.Sequential(owner, other)
    assert len(list(model.parameters())) == 7
    again = copy.deepcopy(model)
    assert again[0].positions is again[1].positions is not owner.positions
    (model(torch.randn(1, 4, 8, 8)) ** 2).sum().backward()
    torch.optim.SGD(param_groups(model), lr=0.1).step()
    assert other.positions is owner.positions
    model.double()
    assert other.positions is owner.positions
    rebuilt = eval(repr(other), dict(vars(nn)) | {"torch": torch})
    assert rebuilt.positions.shape == other.positions.shape
    with pytest.raises(ArgumentError, match="share_positions"):
        DCLSConv(2, 4, 4, 3, 9, groups=4, share_positions=owner)
    with pytest.raises(DtypeError, match="share_positions"):
        DCLSConv(2, 4, 4, 3, 7, share_positions=torch.nn.Conv2d(4, 4, 3))


def test_positions_get_a_group_of_their_own():
    owner = DCLSConv(1, 2, 2, 3, 9)
    model = torch.nn.Sequential(
        owner, DCLSConv(1, 2, 2, 3, 9, share_positions=owner), nn.Delay1d(2, 2, 5), torch.nn.PReLU()
    )
    groups = param_groups(model)
    assert [id(p) for p in groups[1]["params"]] == [id(owner.positions), id(model[2].positions)]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    optimizer = torch.optim.AdamW(nn.param_groups(model, position_lr=100.0), lr=2e-3, weight_decay=0.05)
    assert [group["lr"] for group in optimizer.param_groups] == [2e-3, 0.2]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 0.1]
    assert len(param_groups(torch.nn.Linear(2, 2))) == 1
    with pytest.raises(ArgumentError, match="position_lr"):
        param_groups(model, 0)


def test_repulsion_is_the_mean_over_pairs(monkeypatch):
    made = layer(2, 3, 4, 5, 6)
    with torch.no_grad():
        made.positions[:, 0, 0, 1] = made.positions[:, 0, 0, 0]
    at = made.positions.flatten(1, 2).permute(1, 2, 0)
    pairs = torch.cdist(at, at, compute_mode="donot_use_mm_for_euclid_dist")
    upper = torch.triu(torch.ones(5, 5), 1).bool()
    wanted = (1 - pairs[:, upper]).relu().mean()
    near(made.repulsion(), wanted)
    (whole,) = torch.autograd.grad(made.repulsion(), made.positions)
    assert whole.isfinite().all()
    monkeypatch.setattr("faltung.nn.positions.dcls.PAIRS", 50)
    (pieces,) = torch.autograd.grad(made.repulsion(), made.positions)
    near(pieces, whole)
    both = torch.nn.Sequential(made, DCLSConv(1, 2, 2, 1, 3, dtype=F64))
    near(repulsion(both), wanted / 2)
    assert repulsion(torch.nn.Linear(1, 1)) == 0


def test_rounding_and_clamping_stay_in_the_window():
    made = layer(2, 2, 2, 3, (4, 7), positions=torch.randn(2, 2, 2, 3) * 9)
    assert made.clamp_() is made
    assert made.positions[0].min() >= -2
    assert made.positions[0].max() <= 1
    made.round_()
    assert torch.equal(made.positions, made.positions.round())
    assert made.positions[1].abs().max() <= 3


MEMORY = """
import torch
from faltung.nn.positions import DCLSConv
from pathlib import Path
torch.set_num_threads(1)
def peak():
    return next(int(s.split()[1]) for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmHWM")) << 10
small, layer = DCLSConv(2, 2, 2, 2, 17, interpolation={0!r}), DCLSConv(2, 128, 128, 34, 17, interpolation={0!r})
small.kernel().sum().backward()
before = peak()
layer.kernel().sum().backward()
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the high-water mark of Linux")
@pytest.mark.parametrize("interpolation", ["gauss", "bilinear"])
def test_memory_is_a_tenth_of_the_dense_construction(interpolation):
    script = MEMORY.format(interpolation)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 17 * 17 * 128 * 128 * 34 * 4 / 10  # of one tensor of all shares, gradients included


# -- the package that came first ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("Dcls1d", {"dilated_kernel_size": 7, "padding": 3}),
        ("Dcls2d", {"dilated_kernel_size": 7, "padding": 2, "stride": 2, "groups": 2}),
        ("Dcls2d", {"dilated_kernel_size": (5, 9), "padding": (2, 4)}),
        ("Dcls3d", {"dilated_kernel_size": 5}),
        ("Dcls3d", {"dilated_kernel_size": (3, 5, 7), "bias": False, "padding": 1, "padding_mode": "circular"}),
        ("Dcls3_1d", {"dense_kernel_size": (2, 3), "dilated_kernel_size": 5}),
        ("Dcls2dK1d", {"dilated_kernel_size": 7, "flat_dim": 0, "padding": (3, 0)}),
        ("Dcls2dK1d", {"dilated_kernel_size": 7, "flat_dim": 1}),
    ],
)
@pytest.mark.parametrize("version", ["v0", "v1", "max", "gauss"])
def test_layers_of_the_package_dcls_are_taken_over(kind, options, version):
    modules = pytest.importorskip("DCLS.construct.modules", reason="the package dcls is an extra of development")
    if (kind, version) == ("Dcls3_1d", "v0"):
        pytest.skip("the package has no such layer")
    torch.manual_seed(0)
    theirs = getattr(modules, kind)(4, 6, 3, version=version, **options)
    with torch.no_grad():
        theirs.P.add_(torch.randn_like(theirs.P))
        theirs.clamp_parameters()
        if theirs.SIG is not None:
            theirs.SIG.add_(torch.rand_like(theirs.SIG))
        # In windows that are no cubes its positions leave the window, where it gives shares of next to nothing.
        found = DCLSConv.from_reference(theirs)
        inside = (found.positions == copy.deepcopy(found).clamp_().positions).all(0)
        theirs.weight.mul_(inside.reshape(theirs.weight.shape))
    assert inside.float().mean() > 0.2
    ours = DCLSConv.from_reference(theirs)
    x = torch.randn(2, 4, *[9] * ours.ndim)
    kernel = theirs.DCK(theirs.weight, theirs.P, theirs.SIG)
    if kind == "Dcls2dK1d":
        kernel = kernel.unsqueeze(-1 - theirs.flat_dim)
    near(ours.effective_kernel(), kernel, 1e-5)
    near(ours(x), theirs(x), 1e-5)
    assert eval(repr(ours), dict(vars(nn))).state_dict().keys() == ours.state_dict().keys()


def test_checkpoints_that_do_not_fit_are_refused():
    made = DCLSConv(2, 2, 2, 3, 5)
    state = {"weight": torch.zeros(2, 2, 3), "P": torch.zeros(2, 2, 2, 3), "SIG": torch.zeros(2, 2, 2, 3)}
    with pytest.raises(ArgumentError, match="bias"):
        made.load_reference(state)
    with pytest.raises(ArgumentError, match="positions"):
        made.load_reference(state | {"bias": torch.zeros(2), "P": torch.zeros(2, 2, 2, 4)})
    with pytest.raises(DtypeError, match="Dcls2d"):
        DCLSConv.from_reference(torch.nn.Conv2d(2, 2, 3))


@pytest.mark.parametrize(
    ("arguments", "options", "word"),
    [
        ((5, 2, 2, 1, 3), {}, "ndim"),
        ((2, 2, 2, 0, 3), {}, "kernel_count"),
        ((2, 2, 2, 1, (3, 0)), {}, "window"),
        ((2, 2, 2, 1, 3), {"interpolation": "cubic"}, "interpolation"),
        ((2, 2, 2, 1, 3), {"learn_axes": ()}, "learn_axes"),
        ((2, 2, 2, 1, 3), {"learn_axes": (0, -2)}, "learn_axes"),
        ((2, 2, 2, 1, 4), {"stride": 2}, "odd windows"),
        ((2, 3, 2, 1, 3), {"groups": 2}, "groups"),
        ((2, 2, 2, 1, 3), {"padding_mode": "mirror"}, "padding_mode"),
    ],
)
def test_wrong_settings_are_refused(arguments, options, word):
    with pytest.raises(ArgumentError, match=word):
        DCLSConv(*arguments, **options)


def test_wrong_elements_are_refused():
    w, p = torch.ones(2, 3), torch.zeros(1, 2, 3)
    for error, call in (
        (DtypeError, lambda: functional.placed(w.long(), p, None, 3)),
        (DtypeError, lambda: functional.placed(w, p, 0.5, 3)),
        (ArgumentError, lambda: functional.placed(w, p[0], None, 3)),
        (ArgumentError, lambda: functional.placed(w, p, torch.zeros(2, 3), 3)),
        (ArgumentError, lambda: functional.placed(w, p, None, (3, 3))),
        (ArgumentError, lambda: functional.placed(w, p, None, 3, "nearest")),
        (ArgumentError, lambda: functional.placed(w, p, None, 3, floor=-1)),
    ):
        with pytest.raises(error):
            call()
    assert set(FLOORS) == set(INTERPOLATIONS)
