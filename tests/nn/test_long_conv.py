"""Free long filters: squash and smooth, the directions, the plain layer that they are, streams."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung.errors import ArgumentError
from faltung.nn import FreeFilter, LongConv1d, SequenceConv
from faltung.nn.functional import smooth, squash

F64 = torch.float64


def normal(*shape, seed=1, dtype=F64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


numbers = st.lists(st.floats(-3, 3), min_size=1, max_size=20).map(lambda v: torch.tensor(v, dtype=F64))
thresholds = st.floats(0, 2)


@given(numbers, thresholds)
def test_squash_is_the_soft_threshold(k, lam):
    wanted = k.sign() * (k.abs() - lam).clamp(min=0)
    torch.testing.assert_close(squash(k, lam), wanted, rtol=0, atol=1e-15)
    assert not squash(k, lam)[k.abs() <= lam].any()


@given(numbers, thresholds, st.floats(-3, 3))
def test_squash_is_the_proximal_map_of_the_absolute_value(k, lam, other):
    def price(z):
        return 0.5 * (z - k) ** 2 + lam * z.abs()

    assert (price(squash(k, lam)) <= price(torch.full_like(k, other)) + 1e-12).all()


@given(numbers, thresholds, st.integers(0, 100))
def test_squash_brings_no_two_numbers_farther_apart(k, lam, seed):
    z = normal(len(k), seed=seed)
    assert ((squash(k, lam) - squash(z, lam)).abs() <= (k - z).abs() + 1e-15).all()


@given(numbers, thresholds)
def test_the_derivative_of_squash_is_zero_exactly_where_numbers_vanish(k, lam):
    k = torch.cat([k, k.new_tensor([lam, -lam])]).requires_grad_()
    squash(k, lam).sum().backward()
    assert torch.equal(k.grad, (k.abs() > lam).double())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(0, 6), st.sampled_from(["time", "frequency"]))
def test_smooth_averages_neighbouring_taps_or_bins(length, reach, domain):
    k, window = normal(3, length), 2 * reach + 1
    got = smooth(k, window, domain)
    if domain == "time":
        wide = torch.nn.functional.pad(k, (reach, reach))
        wanted = wide.unfold(-1, window, 1).mean(-1)
    else:
        weights = torch.exp(-0.5 * (4 * torch.arange(-reach, reach + 1, dtype=F64) / window) ** 2)
        bins = torch.fft.fft(k, 2 * length)
        index = (torch.arange(2 * length)[:, None] + torch.arange(-reach, reach + 1)) % (2 * length)
        wanted = torch.fft.ifft((bins[:, index] * weights).sum(-1) / weights.sum()).real[:, :length]
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
    assert reach or torch.equal(got, k)


def test_words_that_make_no_filter():
    for wrong in (
        {"squash": -1},
        {"squash": "much"},
        {"smooth": 4},
        {"dropout": 1.0},
        {"init": "zeros"},
        {"length": 0},
    ):
        with pytest.raises(ArgumentError):
            FreeFilter(**({"channels": 2, "length": 4} | wrong))
    with pytest.raises(ArgumentError, match="time, frequency"):
        smooth(torch.ones(3), 3, "space")


def test_without_regularisation_it_is_a_plain_convolution_with_the_flipped_kernel():
    layer = LongConv1d(3, 20, squash=0, dropout=0, skip=False)
    plain = torch.nn.Conv1d(3, 3, 20, groups=3, padding=19, bias=False)
    with torch.no_grad():
        plain.weight.copy_(layer.constructor.weight.flip(-1))
    x = normal(2, 3, 20, dtype=torch.float32)
    torch.testing.assert_close(layer(x), plain(x)[..., :20], rtol=1e-5, atol=1e-6)


@given(st.integers(1, 12), st.integers(0, 11))
@settings(max_examples=30, deadline=None)
def test_where_taps_of_both_directions_stand(length, place):
    place %= length
    layer = LongConv1d(2, length, direction="bidirectional", squash=0, skip=False, dtype=F64).eval()
    back, ahead = layer.constructor.weight.detach().split(1, 1)
    x = torch.zeros(1, 2, length, dtype=F64)
    x[..., place] = 1
    wanted = torch.zeros_like(x)
    for t in range(length):
        if t >= place:
            wanted[0, :, t] += back[:, 0, t - place]
        if t <= place:
            wanted[0, :, t] += ahead[:, 0, place - t]  # tap 1 meets the sample one step ahead
    torch.testing.assert_close(layer(x), wanted, rtol=0, atol=1e-12)
    causal = LongConv1d(2, length, squash=0, skip=False, dtype=F64).eval()
    with torch.no_grad():
        layer.constructor.weight[:, 1:] = 0
        causal.constructor.weight.copy_(back)
    x = normal(2, 2, length)
    torch.testing.assert_close(layer(x), causal(x), rtol=0, atol=1e-12)


def test_first_values():
    torch.manual_seed(0)
    count, length = 64, 256
    random = FreeFilter(count, length, init="random").weight
    assert abs(random.std().item() / 0.002 - 1) < 0.02
    faded = FreeFilter(count, length).weight[:, 0]
    for c in (0, 31, 63):
        envelope = 0.02 * torch.exp(-torch.arange(length) / length * (count / 2) ** (c / count))
        assert abs((faded[c] / envelope).std().item() - 1) < 0.2


def test_taps_are_dropped_while_training_only():
    torch.manual_seed(0)
    made = FreeFilter(4, 500, squash=0, dropout=0.3, dtype=F64)
    taps = made.filters(500)
    kept = taps != 0
    assert abs(kept.double().mean().item() - 0.7) < 0.05
    torch.testing.assert_close(taps[kept], made.weight[kept] / 0.7)
    assert torch.equal(made.eval().filters(500), made.weight)


@pytest.mark.parametrize("rate", [1.0, 0.5, 1.7])
def test_a_stream_gives_what_the_whole_signal_gives(rate):
    layer = LongConv1d(2, 9, heads=2, dtype=F64).eval()
    x = normal(3, 2, 24)
    wanted, state, found = layer(x, rate), layer.initial_state(3, rate), []
    for t in range(10):
        y, state = layer.step(x[..., t], state)
        found.append(y[..., None])
    y, state = layer.chunk(x[..., 10:20], state)
    found.append(y)
    y, state = layer.chunk(x[..., 20:], state)
    torch.testing.assert_close(torch.cat([*found, y], -1), wanted, rtol=0, atol=1e-12)


def test_the_rate_keeps_sums_and_places():
    layer = SequenceConv(FreeFilter(1, 400, squash=0, dtype=F64).eval(), skip=False)
    with torch.no_grad():
        t = torch.arange(400, dtype=F64)
        layer.constructor.weight.copy_(torch.exp(-((t - 150) ** 2) / 800))
    one = layer.constructor.filters(400)
    for rate in (0.5, 2.0):
        other = layer.constructor.filters(math.ceil(400 / rate), rate)
        assert math.isclose(one.sum().item(), other.sum().item(), rel_tol=1e-3)
        assert int(other.argmax()) == int(150 / rate)


def test_squash_keeps_a_learnt_delay_clean():
    """On a delay task taps without use vanish exactly with squash, and stay as noise without."""
    x = normal(32, 1, 64, dtype=torch.float32)
    target = torch.nn.functional.pad(x, (20, 0))[..., :64]
    noise = {}
    for lam in (0.0, 0.003):
        torch.manual_seed(0)
        layer = LongConv1d(1, 64, squash=lam, dropout=0, skip=False)
        optimizer = torch.optim.Adam(layer.parameters(), 0.02)
        for _ in range(80):
            optimizer.zero_grad()
            (layer(x) - target).square().mean().backward()
            optimizer.step()
        taps = layer.constructor.filters(64)[0, 0].detach()
        assert abs(taps[20].item() - 1) < 0.2
        noise[lam] = (taps != 0).sum().item()
    assert noise[0.003] < 0.7 * noise[0.0]
