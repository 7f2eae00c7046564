"""Layers in the place of convolutions: what each takes of a kernel is the nearest that its class holds, found without a search."""

import itertools

import pytest
import torch

from faltung import nn, tools
from faltung.errors import ArgumentError
from faltung.nn.exchange import has_closed_form
from faltung.testing.layer_cases import cases
from faltung.tools.transfer import difference

DOUBLE = torch.float64
HOLDERS = [kind for kind in nn.ALL if has_closed_form(kind) and nn.exchange.is_convolution(cases([kind])[0].layer())]
FULL = ("Conv", "DilatedReparam", "MultiKernelConv", "WeightedConv", "RandomFilterConv")


def drawn(*shape, seed=0):
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def spanned(layer, names):
    """An orthonormal basis of the kernels that these parameters reach from zero, and the kernel at zero, as columns."""
    values = {name: layer.get_parameter(name).detach().clone() for name in names}

    def kernel_of(some):
        with torch.no_grad():
            for name, value in some.items():
                layer.get_parameter(name).copy_(value)
            return layer.effective_kernel().flatten().clone()

    zero = {name: torch.zeros_like(value) for name, value in values.items()}
    start, columns = kernel_of(zero), []
    for name, value in values.items():
        for n in range(value.numel()):
            unit = torch.zeros_like(value).flatten()
            unit[n] = 1
            columns.append(kernel_of(zero | {name: unit.reshape(value.shape)}) - start)
    kernel_of(values)
    left, sizes, _ = torch.linalg.svd(torch.stack(columns, 1), full_matrices=False)
    return left[:, sizes > 1e-10 * sizes[0]], start


def nearest_by_projection(layer, names, kernel):
    basis, start = spanned(layer, names)
    return (start + basis @ (basis.T @ (kernel.flatten() - start))).reshape(kernel.shape)


@pytest.mark.parametrize("case", cases(HOLDERS), ids=lambda case: case.text)
def test_what_a_layer_is_it_takes_again(case):
    """A kernel that the class holds comes back exactly, but for positions between taps."""
    layer = case.layer()
    if isinstance(layer, nn.DCLSConv):
        layer.round_()
        if layer.widths is not None:
            layer.widths.detach().zero_()
    kernel, bias = layer.effective_kernel().detach().clone(), layer.effective_bias()
    bias = None if bias is None else bias.detach().clone()
    other = case.layer().take(kernel, bias)
    assert difference(other, kernel) < 1e-9
    if bias is not None:
        torch.testing.assert_close(other.effective_bias(), bias)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: nn.InceptionDWConv2d(8, band=5, ratio=0.25, dtype=DOUBLE), ("weights.0", "weights.1", "weights.2")),
        (lambda: nn.ShiftWiseConv2d(4, big=7, small=2, norm=False, dtype=DOUBLE), ("weight",)),
        (lambda: nn.ShiftWiseConv2d(5, big=9, ghost=0.4, norm=False, reps=1, seed=3, dtype=DOUBLE), ("weight",)),
        (lambda: nn.ShiftWiseConv1d(4, big=5, norm=False, paths=1, dtype=DOUBLE), ("weight",)),
        (lambda: nn.ShiftWiseConv3d(2, big=4, small=2, ghost=0.0, norm=False, dtype=DOUBLE), ("weight",)),
        (lambda: nn.MaskedConv2d(2, 4, 3, mask="B", channel_groups=2, dtype=DOUBLE), ("weight",)),
        (lambda: nn.RandomFilterConv2d(2, 3, 3, expansion=4, dtype=DOUBLE), ("weight",)),
        (lambda: nn.MultiKernelConv2d(2, 3, sizes=((1, 3), (3, 1)), dtype=DOUBLE), ("weights.0", "weights.1")),
        (lambda: nn.ShiftConv2d(8, 3, dtype=DOUBLE), ("weight",)),
        (lambda: nn.PHConv1d(4, 8, 4, 3, algebra="quaternion", dtype=DOUBLE), ("filters",)),
        (lambda: nn.PHConv2d(2, 4, 8, 2, groups=2, algebra="complex", dtype=DOUBLE), ("filters",)),
    ],
)
def test_linear_classes_take_the_projection(make, names):
    torch.manual_seed(0)
    layer = make().eval()
    wanted = drawn(*layer.effective_kernel().shape)
    bias = drawn(layer.out_channels, seed=1) if layer.effective_bias() is not None else None
    projected = nearest_by_projection(layer, names, wanted)
    layer.take(wanted, bias)
    if bias is not None and not isinstance(layer, nn.InceptionDWConv):
        torch.testing.assert_close(layer.effective_bias(), bias)
    torch.testing.assert_close(layer.effective_kernel(), projected, rtol=1e-9, atol=1e-9)
    assert ((projected - wanted).norm() / wanted.norm()).item() > 1e-3, "the kernel was to be out of reach"


@pytest.mark.parametrize("ndim", [1, 2])
def test_shift_wise_norms_bring_a_kernel_nearer_and_have_the_bias(ndim):
    torch.manual_seed(0)
    layer = nn.ShiftWiseConv(ndim, 5, big=9, ghost=0.4, dtype=DOUBLE).eval()
    for norm in layer.norms:
        norm.weight.data.uniform_(0.5, 2)
        norm.running_var.uniform_(0.5, 2)
        norm.running_mean.normal_()
    wanted, bias = drawn(*layer.effective_kernel().shape), drawn(5, seed=1)
    with_these = ((nearest_by_projection(layer, ("weight",), wanted) - wanted).norm() / wanted.norm()).item()
    assert difference(layer.take(wanted, bias), wanted) < with_these
    torch.testing.assert_close(layer.effective_bias()[layer.processed], bias[layer.processed])
    with_those = ((nearest_by_projection(layer, ("weight",), wanted) - wanted).norm() / wanted.norm()).item()
    assert abs(difference(layer, wanted) - with_those) < 1e-9
    again = tools.fit(layer, wanted, bias)
    assert with_those < 1.03 * again, "a search from here gains little"


@pytest.mark.parametrize("order", ["spatial-first", "channel-first"])
@pytest.mark.parametrize("many", [1, 2, 3, 6])
def test_separable_layers_take_singular_values(order, many):
    layer = nn.SeparableConv2d(4, 6, 3, groups=1, order=order, multiplier=many, dtype=DOUBLE)
    wanted = drawn(6, 4, 3, 3)
    layer.take(wanted, drawn(6))
    if order == "spatial-first":
        parts, rank = [wanted[:, i].flatten(1) for i in range(4)], many
    else:
        parts, rank = [wanted[c : c + many].transpose(0, 1).flatten(1) for c in range(0, 6, many)], 1
    left_out = sum(torch.linalg.svdvals(part)[rank:].square().sum() for part in parts).sqrt()
    torch.testing.assert_close((layer.effective_kernel() - wanted).norm(), left_out, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(layer.bias.detach(), drawn(6))


def test_a_learnt_algebra_takes_the_best_rank():
    layer, wanted = nn.PHConv2d(3, 6, 6, 2, dtype=DOUBLE), drawn(6, 6, 2, 2)
    layer.take(wanted)
    matrix = wanted.reshape(3, 2, 3, 2, 2, 2).transpose(1, 2).reshape(9, -1)
    left_out = torch.linalg.svdvals(matrix)[3:].norm()
    torch.testing.assert_close((layer.effective_kernel() - wanted).norm(), left_out)
    assert torch.equal(layer.bias.detach(), torch.zeros(6, dtype=DOUBLE))


@pytest.mark.parametrize("interpolation", ["bilinear", "bilinear_norm", "triangle", "gauss"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_dcls_keeps_the_largest_taps(interpolation, ndim):
    window = (5, 4, 3)[:ndim]
    wanted = drawn(3, 2, *window)
    layer = nn.DCLSConv(ndim, 2, 3, 4, window, interpolation=interpolation, padding="valid", dtype=DOUBLE).take(wanted)
    small = wanted.abs().flatten(2).sort(-1).values[..., :-4].norm()
    off = (layer.effective_kernel() - wanted).norm()
    if interpolation == "gauss":
        assert off <= small * (1 + 1e-3)
    else:
        torch.testing.assert_close(off, small)
    taps = wanted[0, 0].numel()
    for count in (taps, taps + 2):
        whole = nn.DCLSConv(ndim, 2, 3, count, window, interpolation=interpolation, padding="valid", dtype=DOUBLE)
        assert difference(whole.take(wanted), wanted) < 1e-9


@pytest.mark.parametrize("interpolation", ["bilinear", "gauss"])
def test_no_other_whole_taps_are_better_for_dcls(interpolation):
    wanted = drawn(1, 1, 6)
    layer = nn.DCLSConv1d(1, 1, 2, 6, interpolation=interpolation, padding="valid", dtype=DOUBLE)
    off = difference(layer.take(wanted), wanted)
    for places in itertools.combinations(range(6), 2):
        at = torch.tensor(places, dtype=DOUBLE).reshape(1, 1, 1, 2) - 3
        widths = None if layer.widths is None else torch.zeros_like(layer.widths)
        ones = torch.eye(2, dtype=DOUBLE).reshape(2, 1, 1, 2)
        units = torch.stack([nn.functional.placed(w, at, widths, 6, interpolation).flatten() for w in ones], 1)
        best = units @ torch.linalg.lstsq(units, wanted.flatten()[:, None]).solution
        assert off <= ((best[:, 0] - wanted.flatten()).norm() / wanted.norm()).item() + 1e-9


def test_dcls_with_dense_axes_and_with_shared_positions():
    wanted = drawn(2, 1, 3, 5, 2)
    layer = nn.DCLSConv3d(1, 2, 4, (3, 5, 2), learn_axes=(0, 2), padding="valid", dtype=DOUBLE)
    left_out = wanted.movedim(3, 2).flatten(3).abs().sort(-1).values[..., :-4].norm() / wanted.norm()
    assert difference(layer.take(wanted), wanted) <= left_out * (1 + 1e-3)
    owner = nn.DCLSConv1d(2, 2, 3, 7, dtype=DOUBLE)
    guest = nn.DCLSConv1d(2, 2, 3, 7, share_positions=owner, dtype=DOUBLE)
    before = owner.positions.detach().clone()
    guest.take(wanted := drawn(2, 2, 7))
    assert torch.equal(owner.positions.detach(), before)
    projected = nearest_by_projection(guest, ("weight",), wanted)
    torch.testing.assert_close(guest.effective_kernel(), projected)


@pytest.mark.parametrize("name", FULL)
def test_classes_that_hold_every_kernel_are_exact(name):
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular", dtype=DOUBLE)
    more = {
        "DilatedReparam": {"groups": 1, "bias": True}, "MultiKernelConv": {"sizes": (1, 3)},
        "RandomFilterConv": {"expansion": 9}, "WeightedConv": {"density": [0.4]},
    }.get(name, {})  # fmt: skip
    layer, x = getattr(nn, name).from_conv(conv, **more), drawn(2, 6, 5, 7)
    torch.testing.assert_close(layer.eval()(x), conv(x), rtol=1e-9, atol=1e-9)


def test_from_conv_takes_settings_over_and_enlarges():
    conv = torch.nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2).eval()
    layer = nn.DCLSConv.from_conv(conv, kernel_count=9, window=7, interpolation="bilinear")
    assert (layer.stride, layer.padding, layer.groups, layer.training) == ((2, 2), (3, 3), 2, False)
    x = torch.randn(1, 4, 11, 10)
    torch.testing.assert_close(layer(x), conv(x), rtol=1e-4, atol=1e-5)
    dense = torch.nn.Conv2d(8, 8, 3, padding=1)
    band = nn.InceptionDWConv.from_conv(dense, band=5)
    diagonal = dense.weight[torch.arange(8), torch.arange(8)]
    torch.testing.assert_close(band.weights[0][:, 0], diagonal[5:6])


def test_swap_says_closed_form_and_calls_no_search(monkeypatch):
    monkeypatch.setattr("faltung.tools.replacement.fit", None)
    model = torch.nn.Sequential(torch.nn.Conv2d(16, 16, 7, padding=3, groups=16), torch.nn.Conv2d(16, 8, 3))
    for target, where, more in (
        ("ShiftWiseConv2d", "0", {"big": 7}), ("InceptionDWConv2d", "0", {"band": 7}), ("SeparableConv2d", "1", {}),
        ("DCLSConv2d", "1", {"kernel_count": 4, "window": 3, "padding": 0}),
    ):  # fmt: skip
        (row,) = tools.swap(model, target, where, **more).rows
        assert row.transfer == "closed form"
        assert 0 < row.kernel_difference < 20
    (row,) = tools.swap(model, "DCLSConv2d", "1", kernel_count=9, window=3, padding=0).rows
    assert row.transfer == "exact"


def test_classes_without_a_closed_form_say_so():
    conv = torch.nn.Conv2d(3, 3, 3)
    with pytest.raises(ArgumentError, match=r"faltung\.tools\.fit"):
        nn.HyperConv2d(3, 3).take(torch.zeros(3, 1, 3, 3))
    with pytest.raises(ArgumentError, match="one convolution"):
        nn.ConvTranspose.from_conv(conv)
    with pytest.raises(ArgumentError, match="choose settings"):
        nn.SeparableConv2d(3, 3, 3).take(torch.zeros(3, 3, 5, 5))
