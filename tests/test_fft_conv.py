"""Long convolutions between gates: values, gradients, memory; partial filters and sparse spectra."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import faltung
from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional as F


def plain(x, k, a=None, b=None):
    """Pad, multiply, convolve, multiply, by torch alone."""
    n, size = x.shape[-1], x.shape[-1] + k.shape[-1]
    u = x if a is None else x * a
    y = torch.fft.irfft(torch.fft.rfft(u, size) * torch.fft.rfft(k, size), size)[..., :n]
    return y if b is None else y * b


def drawn(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, requires_grad=True)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 130), taps=st.integers(1, 130), channels=st.integers(1, 7), gates=st.integers(0, 3))
def test_gated_is_multiplied_convolved_multiplied(n, taps, channels, gates):
    torch.manual_seed(n)
    x, k = drawn(2, channels, n), drawn(channels, taps)
    a = drawn(2, channels, n) if gates & 1 else None
    b = drawn(2, channels, n) if gates & 2 else None
    y, wanted = F.gated_conv(x, k, a, b), plain(x, k, a, b)
    torch.testing.assert_close(y, wanted, atol=1e-12, rtol=1e-12)
    values = [None if t is None else t.detach().numpy() for t in (x, k, a, b)]
    np.testing.assert_allclose(faltung.fft_conv(*values), wanted.detach().numpy(), atol=1e-11)
    weight, known = torch.randn_like(y), [t for t in (x, k, a, b) if t is not None]
    ours, theirs = (torch.autograd.grad((result * weight).sum(), known) for result in (y, wanted))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


def test_gradients_of_gradients():
    torch.manual_seed(0)
    x, k, a, b = drawn(1, 2, 7), drawn(2, 4), drawn(1, 2, 7), drawn(1, 2, 7)
    assert torch.autograd.gradcheck(F.gated_conv, (x, k, a, b))
    assert torch.autograd.gradgradcheck(F.gated_conv, (x, k, a, b))


def test_channels_in_groups_are_all_channels():
    torch.manual_seed(1)
    x, k, a, b = (
        drawn(3, 14, 30_000, dtype=torch.float32),
        drawn(14, 300, dtype=torch.float32),
        *(drawn(3, 14, 30_000, dtype=torch.float32) for _ in range(2)),
    )
    from faltung.engine.fft_conv import groups

    assert len(groups(tuple(x.shape), 4)) > 1
    y, wanted = F.gated_conv(x, k, a, b), plain(x, k, a, b)
    torch.testing.assert_close(y, wanted, atol=5e-4, rtol=5e-3)
    ours, theirs = (torch.autograd.grad(result.sum(), (x, k, a, b)) for result in (y, wanted))
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= 5e-3 * other.norm()


def test_it_is_causal():
    torch.manual_seed(2)
    x, k = torch.randn(1, 3, 500), torch.randn(3, 500)
    y = faltung.fft_conv(x, k)
    for only, leak in (("direct", 0.0), (None, 1e-6), ("monarch", 1e-6), ("partitions", 1e-6)):
        policy = None if only is None else faltung.Policy(only=only)
        y = faltung.fft_conv(x, k, policy=policy)
        later = x.clone()
        later[..., 300:] += 1.0
        change = (faltung.fft_conv(later, k, policy=policy) - y)[..., :300].abs().max()
        assert change <= leak * k.abs().sum(1).max()


@pytest.mark.parametrize("host", ["numpy", "torch"])
def test_sizes_modes_and_partial_filters(host):
    random = np.random.default_rng(3)
    x, k = random.standard_normal((2, 3, 40)), random.standard_normal((3, 25))
    given = (torch.from_numpy(x), torch.from_numpy(k)) if host == "torch" else (x, k)

    def run(**options):
        return np.asarray(faltung.fft_conv(*given, **options))

    full = np.stack([[np.convolve(row, taps) for row, taps in zip(rows, k, strict=True)] for rows in x])
    np.testing.assert_allclose(run(), full[..., :40], atol=1e-12)
    np.testing.assert_allclose(run(size=64), full[..., :40], atol=1e-12)
    np.testing.assert_allclose(run(causal=False), full[..., 12:52], atol=1e-12)
    for size in (40, 50):
        wanted = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(k, size), size)[..., :40]
        np.testing.assert_allclose(run(size=size), wanted, atol=1e-12)
    part = np.stack([[np.convolve(row, taps[:7]) for row, taps in zip(rows, k, strict=True)] for rows in x])
    np.testing.assert_allclose(run(partial=7), part[..., :40], atol=1e-12)
    np.testing.assert_array_equal(run(partial=25), run())
    np.testing.assert_allclose(run(spectrum_mask=np.ones(70, bool)), run(), atol=1e-12)
    for size in (64, 53, 70):
        mask = np.abs(np.fft.fftfreq(size)) < 0.2
        wanted = np.fft.ifft(np.fft.fft(x, size) * np.fft.fft(k, size) * mask).real[..., :40]
        np.testing.assert_allclose(run(spectrum_mask=mask), wanted, atol=1e-12)


def test_a_partial_filter_serves_longer_signals_and_costs_less():
    x, k = np.zeros((1, 4, 200_000), "float32"), np.zeros((4, 100_000), "float32")
    from faltung.engine.fft_conv import PATTERN

    costs = [faltung.plan(x, k[:, :taps], PATTERN, mode=((taps - 1, 0),)).cost for taps in (100_000, 1000)]
    assert costs[1] < 0.5 * costs[0]


def test_gradients_of_sparse_spectra():
    torch.manual_seed(4)
    x, k, a = drawn(2, 1, 5), drawn(1, 3), drawn(2, 1, 5)
    mask = np.abs(np.fft.fftfreq(6)) < 0.3

    def run(x, k, a):
        return faltung.fft_conv(x, k, a, a, spectrum_mask=mask, factors=(3, 2))

    assert torch.autograd.gradcheck(run, (x, k, a))
    assert torch.autograd.gradgradcheck(run, (x, k, a))


def test_gradients_of_sparse_spectra_of_complex_filters():
    """A real signal under a complex filter is a complex one; both maps of the derivative have derivatives."""
    torch.manual_seed(4)
    x, k = drawn(2, 1, 5), drawn(1, 3, dtype=torch.complex128)
    mask = np.arange(6) < 4  # of complex filters no mirror image is asked

    def run(x, k):
        return faltung.fft_conv(x, k, spectrum_mask=mask, factors=(3, 2))

    wanted = torch.fft.ifft(torch.fft.fft(x, 6) * torch.fft.fft(k, 6) * torch.from_numpy(mask))[..., :5]
    torch.testing.assert_close(run(x, k), wanted, atol=1e-13, rtol=1e-13)
    assert torch.autograd.gradcheck(run, (x, k))
    assert torch.autograd.gradgradcheck(run, (x, k))


@settings(max_examples=25, deadline=None)
@given(
    kinds=st.tuples(*[st.sampled_from(["float16", "bfloat16", "float32", "float64"])] * 4),
    gates=st.integers(0, 3),
    torched=st.booleans(),
)
def test_a_sparse_spectrum_of_any_precision_is_the_one_in_double_precision_rounded(kinds, gates, torched):
    """The result and the derivatives have the dtypes that products of such tensors have, and one rounding's error."""
    torch.manual_seed(gates)
    mask = np.abs(np.fft.fftfreq(48)) < 0.2
    kinds = kinds if torched else tuple(kind.removeprefix("b") for kind in kinds)
    shapes = (3, 2, 30), (2, 20), *((3, 2, 30) if gates & bit else None for bit in (1, 2))
    given = [
        None if s is None else torch.randn(s).to(getattr(torch, kind)) for s, kind in zip(shapes, kinds, strict=True)
    ]
    known = [t for t in given if t is not None]
    wide = [None if t is None else t.to(torch.float64, copy=True).requires_grad_() for t in given]
    u = wide[0] if wide[2] is None else wide[0] * wide[2]
    wanted = torch.fft.ifft(torch.fft.fft(u, 48) * torch.fft.fft(wide[1], 48) * torch.from_numpy(mask)).real[..., :30]
    wanted = wanted if wide[3] is None else wanted * wide[3]
    if not torched:
        values = [None if t is None else t.numpy() for t in given]
        y = faltung.fft_conv(*values, spectrum_mask=mask)
        kind = np.result_type(*(v for v in values if v is not None))
        assert y.dtype == kind
        assert np.linalg.norm(y - wanted.detach().numpy()) <= max(1e-6, np.finfo(kind).eps) * wanted.norm()
        return
    for t in known:
        t.requires_grad_()
    y = faltung.fft_conv(*given, spectrum_mask=mask)
    kind = sum(torch.zeros((), dtype=t.dtype) for t in known).dtype
    assert y.dtype == kind
    assert (y.double() - wanted).norm() <= max(1e-6, torch.finfo(kind).eps) * wanted.norm()
    cotangent = torch.randn_like(y)
    ours = torch.autograd.grad(y, known, cotangent)
    theirs = torch.autograd.grad(wanted, [t for t in wide if t is not None], cotangent.double())
    for t, one, other in zip(known, ours, theirs, strict=True):
        assert one.dtype == t.dtype
        assert (one.double() - other).norm() <= max(1e-6, torch.finfo(t.dtype).eps) * other.norm()


@pytest.mark.parametrize("kind", ["int64", "uint8", "bool"])
@pytest.mark.parametrize("which", ["x", "k", "in_gate"])
@pytest.mark.parametrize("torched", [False, True])
def test_a_sparse_spectrum_refuses_whole_numbers_by_name(kind, which, torched):
    given = {"x": np.ones((2, 3, 40)), "k": np.ones((3, 25)), "in_gate": np.ones((2, 3, 40))}
    given[which] = given[which].astype(kind)
    given = {name: torch.from_numpy(t) if torched else t for name, t in given.items()}
    with pytest.raises(DtypeError, match=rf"spectrum_mask: expected values of float16.* got {kind}"):
        faltung.fft_conv(**given, spectrum_mask=np.ones(64, bool))


def test_what_is_not_finite_stays_within_its_row_of_a_sparse_spectrum():
    """Two rows that share a filter are one complex signal, but not where one holds a NaN."""
    x, k = np.ones((4, 2, 40)), np.ones((2, 25))
    x[1, 0, 7] = np.nan
    y = faltung.fft_conv(x, k, spectrum_mask=np.ones(64, bool))
    assert np.isnan(y[1, 0]).all()
    y[1, 0] = 0
    assert np.isfinite(y).all()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # torch on its own internals
@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_a_sparse_spectrum_compiles_with_its_gradients(kind):
    mask = np.abs(np.fft.fftfreq(70)) < 0.2
    known = drawn(2, 3, 40, dtype=kind), drawn(3, 25, dtype=kind), drawn(2, 3, 40, dtype=kind)

    def run(x, k, a):
        return faltung.fft_conv(x, k, a, a, spectrum_mask=mask, factors=(10, 7))

    results = [call(*known) for call in (torch.compile(run, backend="aot_eager", fullgraph=True), run)]
    assert results[0].dtype == kind
    near = 1e-12 if kind == torch.float64 else 0.02
    torch.testing.assert_close(*results, atol=near, rtol=near)
    weight = torch.randn_like(results[0])
    slopes = [torch.autograd.grad(y, known, weight) for y in results]
    for one, other in zip(*slopes, strict=True):
        assert (one - other).norm() <= near * other.norm()


@pytest.mark.parametrize("n", [1000, pytest.param(65_536, marks=pytest.mark.slow)])
def test_half_precision_data(n):
    """The reference's tolerance for 0.02-scaled data in half precision is 1e-2 absolute; ours is 5e-3 relative, gradients too."""
    torch.manual_seed(5)
    for dtype, near in ((torch.float16, 5e-3), (torch.bfloat16, 2e-2)):
        x, k, a, b = (0.02 * torch.randn(s) for s in ((2, 8, n), (8, n), (2, 8, n), (2, 8, n)))
        half = [t.to(dtype).requires_grad_() for t in (x, k, a, b)]
        wide = [t.detach().double().requires_grad_() for t in half]
        y, wanted = (
            F.gated_conv(half[0], half[1], 50 * half[2], 50 * half[3]),
            plain(wide[0], wide[1], 50 * wide[2], 50 * wide[3]),
        )
        assert y.dtype == dtype
        assert (y.double() - wanted).norm() <= near * wanted.norm()
        cotangent = torch.randn_like(wanted).to(dtype)
        ours = torch.autograd.grad(y, half, cotangent)
        theirs = torch.autograd.grad(wanted, wide, cotangent.double())
        for one, other in zip(ours, theirs, strict=True):
            assert one.isfinite().all()
            assert (one.double() - other).norm() <= near * other.norm()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # torch on its own internals
@pytest.mark.parametrize("gates", range(4))
def test_it_compiles_with_its_gradients(gates):
    """As one graph, traced through the derivatives."""
    faltung.convolve(np.ones(5), np.ones(3))  # what NumPy calls leave behind must not stand in the way
    x, k, a, b = drawn(2, 3, 40), drawn(3, 10), drawn(2, 3, 40), drawn(2, 3, 40)
    given = [x, k, a if gates & 1 else None, b if gates & 2 else None]
    known = [t for t in given if t is not None]
    compiled = torch.compile(lambda *given: F.gated_conv(*given), backend="aot_eager", fullgraph=True)
    results = [call(*given) for call in (compiled, F.gated_conv)]
    torch.testing.assert_close(*results, atol=1e-12, rtol=1e-12)
    weight = torch.randn_like(results[0])
    slopes = [torch.autograd.grad(y, known, weight) for y in results]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def kept_for_backward(call):
    """Bytes of the tensors that autograd keeps, each memory once."""
    held = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return sum(held.values())


@pytest.mark.parametrize("only", ["negacyclic", "overlap"])
def test_what_is_kept_is_at_most_half(only):
    x, k, a, b = (drawn(*s, dtype=torch.float32) for s in ((4, 8, 4096), (8, 4096), (4, 8, 4096), (4, 8, 4096)))
    policy = faltung.Policy(only=only)
    ours = kept_for_backward(lambda: F.gated_conv(x, k, a, b, policy=policy))
    theirs = kept_for_backward(lambda: plain(x, k, a, b))
    arguments = sum(t.nbytes for t in (x, k, a, b))
    # The arguments; and what the second gate multiplies, where its cotangent does not come with the others.
    assert ours == arguments + (0 if only == "negacyclic" else x.nbytes)
    assert ours <= 0.5 * theirs
    frozen = b.detach()
    assert kept_for_backward(lambda: F.gated_conv(x, k, a, frozen, policy=policy)) == arguments


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gates", range(4))
@pytest.mark.parametrize("causal", [True, False])
def test_one_pass_for_all_derivatives_equals_those_of_the_definition(dtype, gates, causal):
    """Held against sums in double precision, for every choice of operands that learn; filters longer than the signal too."""
    torch.manual_seed(gates)
    policy, near = faltung.Policy(only="negacyclic"), 1e-12 if dtype == torch.float64 else 3e-6
    for n, taps in ((700, 650), (300, 500)):
        x, k, a, b = (torch.randn(s, dtype=dtype) for s in ((3, 2, n), (2, taps), (3, 2, n), (3, 2, n)))
        given = [x, k, a if gates & 1 else None, b if gates & 2 else None]
        late = 0 if causal else (taps - 1) // 2
        pads = (taps - 1 - late, late)
        cotangent = torch.randn(3, 2, n, dtype=dtype)
        for learns in ((1, 1, 1, 1), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 1, 1, 0)):
            mine = [
                None if t is None else t.clone().requires_grad_(bool(l)) for t, l in zip(given, learns, strict=True)
            ]
            known = [t for t in mine if t is not None and t.requires_grad]
            if not known:
                continue
            y = F.gated_conv(*mine, causal=causal, policy=policy)
            assert y.grad_fn.next_functions[0][0].name() == "_RingBackward" or y.grad_fn.name() == "_RingBackward"
            wide = [None if t is None else t.detach().double().requires_grad_(t.requires_grad) for t in mine]
            u = wide[0] if wide[2] is None else wide[0] * wide[2]
            z = torch.nn.functional.conv1d(torch.nn.functional.pad(u, pads), wide[1].flip(1)[:, None], groups=2)
            z = z if wide[3] is None else z * wide[3]
            assert (y - z).norm() <= near * z.norm()
            ours = torch.autograd.grad(y, known, cotangent)
            theirs = torch.autograd.grad(z, [t for t in wide if t is not None and t.requires_grad], cotangent.double())
            for one, other in zip(ours, theirs, strict=True):
                assert (one - other).norm() <= near * other.norm()


def lying(how, *shape):
    """Random tensors of a shape that lie otherwise in memory."""
    b, c, n = shape
    if how == "parts":  # of one projection, as sequence models split it
        return torch.randn(b, 4 * c, n, dtype=torch.float64).split(c, 1)
    if how == "turned":
        return [t.transpose(0, 1) for t in torch.randn(4, c, b, n, dtype=torch.float64)]
    if how == "steps":
        return [t[..., ::2] for t in torch.randn(4, b, c, 2 * n, dtype=torch.float64)]
    return torch.randn(b, 4 * c, n, dtype=torch.float64).split(c, 1)[0], *torch.randn(3, b, c, n, dtype=torch.float64)


@pytest.mark.parametrize("how", ["parts", "turned", "steps", "unlike"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("only", ["negacyclic", "overlap"])
def test_operands_may_lie_in_memory_as_they_like(how, batch, only):
    """Views with gaps, turned axes, steps, and a cotangent of the same kind give what copies of them give."""
    torch.manual_seed(batch)
    k, policy = torch.randn(2, 90, dtype=torch.float64), faltung.Policy(only=only)
    *signals, cotangent = lying(how, batch, 2, 128)
    for gates in range(4):
        x, a, b = (t if use else None for t, use in zip(signals, (1, gates & 1, gates & 2), strict=True))
        results = []
        for operands in ((x, k, a, b), tuple(None if t is None else t.contiguous() for t in (x, k, a, b))):
            mine = [None if t is None else t.detach().requires_grad_() for t in operands]
            y = F.gated_conv(*mine, policy=policy)
            known = [t for t in mine if t is not None]
            results.append((y, *torch.autograd.grad(y, known, cotangent)))
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other, atol=1e-11, rtol=1e-11)
        torch.testing.assert_close(results[0][0], plain(x, k, a, b), atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("only", [(), ("negacyclic",), ("overlap",)])
def test_many_cotangents_at_once_are_one_after_the_other(only):
    torch.manual_seed(5)
    known = drawn(2, 6, 512), drawn(6, 512), drawn(2, 6, 512), drawn(2, 6, 512)
    y = F.gated_conv(*known, policy=faltung.Policy(only=only))
    many = torch.randn(3, *y.shape, dtype=y.dtype)
    found = torch.autograd.grad(y, known, many, is_grads_batched=True, retain_graph=True)
    for i, cotangent in enumerate(many):
        for one, other in zip(found, torch.autograd.grad(y, known, cotangent, retain_graph=True), strict=True):
            torch.testing.assert_close(one[i], other, atol=1e-10, rtol=1e-10)


def test_what_is_not_finite_stays_within_its_taps():
    torch.manual_seed(6)
    for gates in (0, 3):
        x, k, a, b = (torch.randn(s) for s in ((2, 3, 600), (3, 40), (2, 3, 600), (2, 3, 600)))
        x[1, 2, 300], given = float("inf"), [x, k, *((a, b) if gates else ())]
        for t in given:
            t.requires_grad_()
        y = F.gated_conv(*given, policy=faltung.Policy(only=("negacyclic", "direct")))
        bad = ~y.isfinite()
        assert bad[1, 2, 300:340].all()
        assert bad.sum() == 40
        gx, gk = torch.autograd.grad(y[0].sum() + y[1, 0].sum(), (x, k))[:2]
        assert gx.isfinite().all()
        assert gk[:2].isfinite().all()
        assert not gk[2].isfinite().any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"partial": 0}, "partial from 1"),
        ({"partial": 26}, "partial from 1"),
        ({"size": 30}, "size of at least 40"),
        ({"size": 64, "causal": False}, "causal"),
        ({"in_gate": np.ones((2, 3, 39))}, "in_gate of shape"),
        ({"spectrum_mask": np.ones((2, 40), bool)}, "spectrum_mask"),
        ({"spectrum_mask": np.ones(64, bool), "size": 65}, "spectrum_mask"),
        ({"spectrum_mask": np.ones(64, bool), "factors": (5, 5)}, "product is 64"),
        ({"k": np.ones((2, 5))}, "channels"),
    ],
)
def test_what_does_not_fit_is_named(options, said):
    given = {"x": np.ones((2, 3, 40)), "k": np.ones((3, 25))} | options
    with pytest.raises(ArgumentError, match=said):
        faltung.fft_conv(**given)
