"""The operator behind per-pixel and local convolution: derivatives of every order, dtypes, devices, what it refuses."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional import conv_local, conv_local_transpose, conv_per_pixel
from faltung.nn.functional import field as operator
from faltung.nn.functional.definition import padded

# share, groups, x, taps, stride, dilation, lo, m
CASES = [
    ("interleave", 3, (2, 6, 9), (3,), (1,), (1,), (1,), (9,)),
    ("block", 3, (2, 6, 5, 4), (3, 2), (1, 1), (1, 1), (1, 0), (5, 4)),
    ("interleave", 2, (1, 4, 7, 9), (2, 3), (2, 3), (2, 1), (1, 2), (3, 3)),
    ("none", 1, (3, 2, 5, 18), (3, 3), (1, 1), (1, 1), (1, 1), (5, 18)),
    ("none", 2, (5, 4, 6, 7), (2, 3), (1, 2), (1, 2), (0, 1), (5, 3)),
    ("none", 1, (2, 3, 3, 4, 5), (2, 1, 2), (1, 1, 1), (1, 1, 2), (1, 0, 0), (3, 4, 3)),
]


def operands(case, dtype=torch.float64):
    share, groups, shape, t, stride, dilation, lo, m = case
    n, many = shape[2:], 6 if share == "none" else shape[1]
    values = torch.Size(t).numel()
    w = (many, shape[1] // groups, *t, *m) if share == "none" else (shape[0], groups, values, *m)
    made = [torch.randn(s, dtype=dtype) for s in (shape, w, (shape[0], many, *m))]
    return made, (share, groups, n, t, m, stride, dilation, lo)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_three_maps_are_derivatives_of_one_form(case):
    """⟨y, y(x, w)⟩ = ⟨x, x(w, y)⟩ = ⟨w, w(x, y)⟩, and finite differences agree, of first and second order."""
    (x, w, y), rest = operands(case)
    forms = [
        (y * operator.field(x, w, None, *rest)).sum(),
        (x * operator.field(None, w, y, *rest)).sum(),
        (w * operator.field(x, None, y, *rest)).sum(),
    ]
    for form in forms[1:]:
        torch.testing.assert_close(form, forms[0], rtol=1e-11, atol=1e-11)
    x, w, y = (a.requires_grad_() for a in (x, w, y))
    for missing in range(3):
        known = [a for i, a in enumerate((x, w, y)) if i != missing]

        def call(*given, missing=missing):
            given = list(given)
            given.insert(missing, None)
            return operator.field(*given, *rest)

        assert gradcheck(call, known, fast_mode=True)
        assert gradgradcheck(call, known, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_composition_for_other_devices_gives_the_same(case, dtype):
    (x, w, y), (share, groups, n, t, m, *steps) = operands(case, dtype)
    wanted = [
        operator.field(*(None if i == slot else a for i, a in enumerate((x, w, y))), share, groups, n, t, m, *steps)
        for slot in range(3)
    ]
    for slot in range(3):
        made = [a.clone() for a in (x, w, y)]
        views = [operator._viewed(a, "xwy"[i], share, groups, t, m) for i, a in enumerate(made)]
        operator._compose(slot, *views, n, t, m, *steps)
        torch.testing.assert_close(made[slot], wanted[slot], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_summed_in_single(dtype):
    """1024 + 64 ones: every one of them would be lost in a half type's sum, their total is not."""
    x = torch.ones(1, 1, 65, dtype=dtype)
    x[..., 0] = 1024 if dtype == torch.bfloat16 else 4096
    w = torch.ones(1, 1, 65, 1, dtype=dtype)
    assert conv_per_pixel(x, w, 65).item() == x.double().sum()
    assert conv_local(x, w.reshape(1, 1, 65, 1)).item() == x.double().sum()
    assert conv_per_pixel(x, w, 65).dtype == dtype


def test_memory_layouts_do_not_matter():
    x, w = torch.randn(2, 8, 5, 6), torch.randn(2, 4, 9, 5, 6)
    wanted = conv_per_pixel(x, w, 3, padding=1)
    last, apart = x.to(memory_format=torch.channels_last), w.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(conv_per_pixel(last, apart, 3, padding=1), wanted)


@pytest.mark.parametrize("padding_mode", ["reflect", "replicate", "circular", "symmetric"])
@pytest.mark.parametrize("pads", [((0, 0), (1, 2)), ((3, 1), (2, 5))], ids=str)
def test_margins_and_their_transpose(padding_mode, pads):
    """Margins are those of the definition, also wider than the signal; folding is the transpose."""
    x = torch.randn(2, 3, 4, 3, dtype=torch.float64)
    wide = operator.extended(x, pads, padding_mode)
    assert torch.equal(wide, padded(x, pads, padding_mode))
    y = torch.randn_like(wide)
    back = operator.folded(y, x.shape[2:], pads, padding_mode)
    torch.testing.assert_close((back * x).sum(), (y * wide).sum())


def test_nothing_is_computed_from_nothing():
    assert conv_per_pixel(torch.zeros(0, 4, 5), torch.zeros(0, 2, 3, 5), 3, padding=1).shape == (0, 4, 5)
    assert conv_local(torch.zeros(0, 2, 5), torch.zeros(3, 2, 3, 3)).shape == (0, 3, 3)


def test_autocast_narrows_single_and_leaves_double():
    x, w = torch.randn(1, 2, 5), torch.randn(1, 2, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert conv_per_pixel(x, w, 3).dtype == torch.bfloat16
        assert conv_per_pixel(x.bfloat16(), w, 3).dtype == torch.bfloat16
        assert conv_per_pixel(x.double(), w.double(), 3).dtype == torch.float64


X, PIXEL, LOCAL = torch.zeros(2, 4, 5), torch.zeros(2, 2, 3, 3), torch.zeros(6, 4, 3, 3)
WRONG = [
    (DtypeError, lambda: conv_per_pixel(X, PIXEL.double(), 3)),
    (DtypeError, lambda: conv_per_pixel(X.long(), PIXEL.long(), 3)),
    (DtypeError, lambda: conv_per_pixel(X.cfloat(), PIXEL.cfloat(), 3)),
    (DtypeError, lambda: conv_per_pixel([1.0], PIXEL, 3)),
    (DtypeError, lambda: conv_local(X, None)),
    (ArgumentError, lambda: conv_per_pixel(X, PIXEL, 2)),
    (ArgumentError, lambda: conv_per_pixel(X, PIXEL, 3, padding=1)),
    (ArgumentError, lambda: conv_per_pixel(X[:1], PIXEL, 3)),
    (ArgumentError, lambda: conv_per_pixel(X[0], PIXEL, 3)),
    (ArgumentError, lambda: conv_per_pixel(X[:, :3], PIXEL, 3)),
    (ArgumentError, lambda: conv_per_pixel(X, PIXEL, 3, share="none")),
    (ArgumentError, lambda: conv_per_pixel(X, PIXEL, 3, padding_mode="mirror")),
    (ArgumentError, lambda: conv_local(X, LOCAL, padding=1)),
    (ArgumentError, lambda: conv_local(X, LOCAL, groups=2)),
    (ArgumentError, lambda: conv_local(X, LOCAL, groups=4)),
    (ArgumentError, lambda: conv_local(X, LOCAL[..., 0])),
    (ArgumentError, lambda: conv_local(X, LOCAL, padding_mode="mirror")),
    (ArgumentError, lambda: conv_local_transpose(X, LOCAL)),
    (ArgumentError, lambda: conv_local_transpose(torch.zeros(2, 6, 3), LOCAL, output_padding=1)),
    (ArgumentError, lambda: conv_local_transpose(torch.zeros(2, 6, 3), LOCAL, padding=3)),
]


@pytest.mark.parametrize(("error", "call"), WRONG)
def test_wrong_calls_are_refused(error, call):
    with pytest.raises(error, match="expected"):
        call()


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_gpu_gives_the_same(case):
    (x, w, _), rest = operands(case, torch.float32)
    came = operator.field(x.cuda(), w.cuda(), None, *rest).cpu()
    torch.testing.assert_close(came, operator.field(x, w, None, *rest), rtol=1e-5, atol=1e-5)
