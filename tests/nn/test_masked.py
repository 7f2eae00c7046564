"""MaskedConv: exact zeros where the order forbids a dependence, the plain convolution without a mask, and its inverse."""

import itertools

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.functional import causal_solve, conv
from faltung.nn.functional.definition import conv_by_taps
from faltung.tools import check_autoregressive

SIZES = {1: (7,), 2: (4, 5), 3: (3, 3, 4)}


def pile(ndim, first="A", then="B", channels=2, groups=1, kernel_size=3, width=4):
    torch.manual_seed(0)
    layers = [nn.MaskedConv(ndim, channels, width, kernel_size, mask=first, channel_groups=groups)]
    layers += [nn.MaskedConv(ndim, width, width, kernel_size, mask=then, channel_groups=groups)]
    layers += [nn.MaskedConv(ndim, width, channels, 1, mask=then, channel_groups=groups)]
    return torch.nn.Sequential(*layers[:2], torch.nn.Tanh(), layers[2]).double()


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_jacobian_of_a_pile_is_triangular(ndim, groups):
    """Strictly after a layer A, inclusive without; exact zeros in float64."""
    size = (2, *SIZES[ndim])
    strict = pile(ndim, groups=groups)
    found = check_autoregressive(strict, size, channel_groups=groups)
    assert found.holds, str(found)
    inclusive = pile(ndim, first="B", groups=groups)
    assert check_autoregressive(inclusive, size, strict=False, channel_groups=groups).holds
    assert not check_autoregressive(inclusive, size, strict=True, channel_groups=groups).holds
    # Read in raster order, the channels of a position one after the other, the matrix itself is triangular.
    matrix = torch.func.jacrev(strict)(torch.randn(1, *size, dtype=torch.float64))
    many = torch.Size(size).numel()
    order = torch.arange(many).reshape(size).movedim(0, -1).flatten()
    matrix = matrix.reshape(many, many)[order][:, order]
    blocks = matrix if groups == 2 else matrix.reshape(many // 2, 2, many // 2, 2).abs().amax((1, 3))
    assert torch.equal(blocks.triu(), torch.zeros_like(blocks))
    assert blocks.tril(-1).any()


def test_large_kernels_and_long_signals_leave_no_trace_of_the_future():
    """A transform would leave 1e-17 there; the layer's policy refuses those."""
    layer = nn.MaskedConv(1, 1, 1, 513, mask="A", dtype=torch.float64)
    x = torch.randn(1, 1, 2048, dtype=torch.float64)
    changed = x.clone()
    changed[..., 1000:] += 1e6
    assert torch.equal(layer(x)[..., :1001], layer(changed)[..., :1001])
    plane = nn.MaskedConv(2, 4, 4, 3, mask="A", dtype=torch.float64)
    image = torch.randn(1, 4, 64, 64, dtype=torch.float64)
    other = image.clone()
    other[..., 30:, :] += 1e6
    assert torch.equal(plane(image)[..., :30, :], plane(other)[..., :30, :])
    # Backwards as well: what results before 1000 ask of the inputs from 1000 on is nothing.
    x.requires_grad_()
    (found,) = torch.autograd.grad(layer(x)[..., :1000].square().sum(), x)
    assert not found[..., 999:].any()
    assert found[..., 500:999].all()


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_without_a_mask_it_is_the_plain_convolution(ndim):
    options = {"kernel_size": 3, "padding": 1, "groups": 2, "dtype": torch.float64}
    plain = nn.Conv(ndim, 2, 4, **options)
    layer = nn.MaskedConv(ndim, 2, 4, mask="ones", **options)
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(2, 2, *[4] * ndim, dtype=torch.float64)
    assert torch.equal(layer(x), plain(x))


def test_masks_in_two_dimensions_are_those_of_the_definition():
    def support(mask, **options):
        layer = nn.MaskedConv(2, 1, 1, 3, mask=mask, **options)
        return layer.effective_kernel()[0, 0].ne(0).int().tolist()

    assert support("A") == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert support("B") == support("causal") == [[1, 1, 1], [1, 1, 0], [0, 0, 0]]
    assert support("B", zero_diagonal=True) == support("causal", zero_diagonal=True) == support("A")
    assert support("quadrant") == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert support("quadrant", zero_diagonal=True) == [[1, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert support([[0, 1, 0]] * 3) == [[0, 1, 0]] * 3


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("mask", "keeps"), [("A", lambda i, o: i < o), ("B", lambda i, o: i <= o)])
def test_channel_groups_order_the_centre(mask, keeps, groups):
    layer = nn.MaskedConv(2, 6, 9, 3, mask=mask, channel_groups=3, groups=groups)
    whole = torch.zeros(9, 6, dtype=torch.bool)
    for o, i in itertools.product(range(9), range(6)):
        whole[o, i] = keeps(i // 2, o // 3) and (groups == 1 or i // 2 == o // 3)
    centre = layer.effective_kernel()[..., 1, 1].ne(0)
    for o, i in itertools.product(range(9), range(centre.shape[1])):
        assert centre[o, i] == whole[o, i + o // (9 // groups) * centre.shape[1]]


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular", "symmetric"])
@pytest.mark.parametrize("padding", [0, 1, 3, "same"])
@pytest.mark.parametrize("mask", ["A", "quadrant"])
def test_the_cropped_kernel_computes_the_same(mask, padding, mode):
    layer = nn.MaskedConv(2, 2, 3, (3, 5), padding=padding, padding_mode=mode, mask=mask, dtype=torch.float64)
    x = torch.randn(2, 2, 6, 7, dtype=torch.float64)
    wanted = conv(x, layer.effective_kernel(), layer.bias, padding=padding, padding_mode=mode)
    torch.testing.assert_close(layer(x), wanted, rtol=0, atol=1e-12)
    assert layer.box == ((0, 1), (0, 4) if mask == "A" else (0, 2))  # half of the rows are not computed


def test_what_the_mask_leaves_out_gets_no_gradient():
    layer = nn.MaskedConv(2, 2, 2, 3, mask="A")
    layer(torch.randn(1, 2, 4, 4)).square().sum().backward()
    assert torch.equal(layer.weight.grad.ne(0), layer.mask.ne(0))


@pytest.mark.parametrize(("ndim", "mask"), [(1, "B"), (2, "B"), (2, "causal"), (2, "quadrant"), (3, "B")])
def test_a_unit_of_type_b_with_a_diagonal_is_invertible(ndim, mask):
    """By the solver of InvertibleConv, and its matrix is triangular with the product of the diagonal as determinant."""
    torch.manual_seed(1)
    layer = nn.MaskedConv(ndim, 2, 2, 3, mask=mask, channel_groups=2, dtype=torch.float64)
    layer.weight.data.mul_(0.3)
    layer.weight.data[(..., *layer.centre)] += 2 * torch.eye(2, dtype=torch.float64)
    size = SIZES[ndim]
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    y = layer(x)
    torch.testing.assert_close(layer.inverse(y), x, rtol=0, atol=1e-11)
    by_scan = causal_solve(
        y - layer.bias.reshape(-1, *[1] * ndim), layer.kernel(), [[False] * ndim], layer.centre, "scan"
    )
    torch.testing.assert_close(by_scan, x, rtol=0, atol=1e-11)
    centre = torch.linalg.slogdet(layer.kernel()[(..., *layer.centre)])[1]
    whole = torch.linalg.slogdet(layer.effective_matrix((2, *size)))[1]
    torch.testing.assert_close(whole, centre * torch.Size(size).numel())
    layer.weight.data[(..., *layer.centre)] = 0
    with pytest.raises(ArgumentError, match="has an inverse"):
        layer.inverse(y)


def test_the_inverse_refuses_what_is_no_triangular_system():
    for options in ({"mask": "ones"}, {"stride": 2, "padding": 1}, {"dilation": 2}, {"padding_mode": "circular"}):
        with pytest.raises(ArgumentError, match="ordered mask"):
            nn.MaskedConv(1, 2, 2, 3, **options).inverse(torch.zeros(1, 2, 5))


def test_pads_may_differ_between_the_ends_of_an_axis():
    x, weight = torch.randn(2, 2, 6, 5, dtype=torch.float64), torch.randn(3, 2, 3, 2, dtype=torch.float64)
    for pads in (((2, 0), (0, 1)), ((-1, 3), (1, -2)), ((0, 0), (4, 4))):
        for mode in ("zeros", "circular"):
            grown = tuple((max(a, 0), max(b, 0)) for a, b in pads)
            wanted = conv_by_taps(x, weight, None, (1, 1), grown, (1, 1), 1, mode)
            for axis, (a, b) in enumerate(pads):
                length = wanted.shape[2 + axis]
                wanted = wanted.narrow(2 + axis, max(-a, 0), length - max(-a, 0) - max(-b, 0))
            torch.testing.assert_close(conv(x, weight, padding=pads, padding_mode=mode), wanted, rtol=0, atol=1e-12)
    with pytest.raises(ArgumentError, match="pairs"):
        conv(x, weight, padding=((1, 1),))


@pytest.mark.parametrize(
    "options",
    [
        {"mask": "C"},
        {"kernel_size": 2},
        {"channel_groups": 3},
        {"mask": torch.ones(5)},
        {"mask": None},
        {"mask": [[1, 0], [1]]},
        {"mask": "A", "kernel_size": (3, 4)},
    ],
)
def test_wrong_settings_are_refused(options):
    with pytest.raises(ArgumentError):
        nn.MaskedConv(2, 4, 4, **{"kernel_size": 3, **options})
