"""Periods found, series folded by them, and a layer in which samples do not know of each other."""

import pytest
import torch

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import PeriodFoldConv
from faltung.nn.functional import dominant_periods, fold_period, unfold_period


def waves(length, *parts):
    """The sum of sines (period, amplitude)."""
    t = torch.arange(length, dtype=torch.float64)
    return sum(amplitude * torch.sin(2 * torch.pi * t / period) for period, amplitude in parts)


def test_two_sines_are_found_with_their_amplitudes():
    x = waves(96, (24, 1.0), (8, 0.5))
    found = dominant_periods(x, 2)
    assert found.indices.tolist() == [4, 12]
    assert found.periods.tolist() == [24, 8]
    torch.testing.assert_close(found.amplitudes, torch.tensor([48.0, 24.0], dtype=torch.float64), rtol=0, atol=1e-9)
    batch = dominant_periods(torch.stack([x, x.flip(0)]).reshape(2, 1, 96), 2)
    assert batch.periods.tolist() == [[24, 8], [24, 8]]


def test_an_index_counts_cycles_and_the_period_is_rounded_down():
    found = dominant_periods(waves(100, (100 / 7, 1.0)), 1)
    assert (found.indices.tolist(), found.periods.tolist()) == ([7], [14])  # 14.28 samples


def test_the_mean_of_a_series_is_no_period():
    found = dominant_periods(waves(48, (12, 0.1)) + 1000, 1)
    assert found.periods.tolist() == [12]


def test_equal_amplitudes_are_taken_from_the_lowest_frequency():
    impulse = torch.zeros(1, 1, 16)
    impulse[..., 0] = 1  # a flat spectrum
    assert dominant_periods(impulse, 8).indices.tolist() == [list(range(1, 9))]


def test_one_choice_for_the_batch_or_one_for_each():
    x = torch.stack([waves(96, (24, 1.0)), waves(96, (8, 3.0))]).reshape(2, 1, 96)
    assert dominant_periods(x, 1).periods.tolist() == [[24], [8]]
    together = dominant_periods(x, 2, batchwise=True)
    assert together.periods.tolist() == [8, 24]
    torch.testing.assert_close(
        together.amplitudes, torch.tensor([[0.0, 48], [144, 0]], dtype=torch.float64), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_transformed_in_single(half):
    x = waves(96, (24, 1.0), (8, 0.5)).to(half)
    found = dominant_periods(x, 2)
    assert found.periods.tolist() == [24, 8]
    assert found.amplitudes.dtype == torch.float32
    layer = PeriodFoldConv(1, 2, 2, 2).to(half)
    assert layer(x.reshape(1, 1, 96)).dtype == half


@pytest.mark.parametrize(
    ("x", "k", "error"),
    [
        (torch.ones(1, 1, 5), 3, ArgumentError), (torch.ones(2, 5), 1, ArgumentError), (torch.ones(8), 0, ArgumentError),
        (torch.ones(8, dtype=torch.int64), 1, DtypeError), ([1.0, 2.0], 1, DtypeError), (torch.ones(8) + 0j, 1, DtypeError),
    ],
)  # fmt: skip
def test_wrong_calls_are_refused(x, k, error):
    with pytest.raises(error):
        dominant_periods(x, k)


@pytest.mark.parametrize("period", [1, 2, 5, 12, 13])
def test_folding_and_back_loses_nothing(period):
    x = torch.randn(2, 3, 12)
    images = fold_period(x, period)
    assert images.shape == (2, 3, -(-12 // period), period)
    assert torch.equal(unfold_period(images, 12), x)
    if period == 5:
        assert torch.equal(images[0, 0, 1], x[0, 0, 5:10])
        assert images[..., 2, 2:].abs().max() == 0
    with pytest.raises(ArgumentError):
        unfold_period(images, images[0, 0].numel() + 1)


def test_a_sample_s_result_does_not_depend_on_its_company():
    torch.manual_seed(0)
    layer = PeriodFoldConv(2, 4, top_k=2, inception=3, dtype=torch.float64)
    x = torch.stack([waves(60, (p, 1.0), (q, 2.0)) for p, q in ((20, 6), (12, 30), (20, 5), (4, 60))])
    x = torch.stack([x, x.roll(3, -1)], 1)
    assert len({tuple(row) for row in dominant_periods(x, 2).periods.tolist()}) == 4
    whole = layer(x)
    for n in range(4):
        torch.testing.assert_close(whole[n : n + 1], layer(x[n : n + 1]), rtol=0, atol=1e-12)
    published = PeriodFoldConv(2, 4, top_k=2, inception=3, batchwise=True, dtype=torch.float64)
    published.load_state_dict(layer.state_dict())
    torch.testing.assert_close(published(x[:1]), layer(x[:1]), rtol=0, atol=1e-12)  # alone they agree
    alone = torch.cat([published(x[n : n + 1]) for n in range(4)])
    assert (published(x) - alone).abs().max() > 1e-3  # the published rule leaks


def test_a_constant_series_is_safe():
    layer = PeriodFoldConv(1, 2, top_k=3, inception=2)
    x = torch.ones(2, 1, 24, requires_grad=True)
    y = layer(x)
    assert y.isfinite().all()
    assert torch.autograd.grad(y.sum(), x)[0].isfinite().all()
    zero = torch.zeros(1, 1, 24)
    assert torch.equal(layer(zero), zero)  # biases start at zero


def test_a_period_of_the_whole_series_is_one_row():
    torch.manual_seed(0)
    layer = PeriodFoldConv(1, 2, top_k=1, inception=3, dtype=torch.float64)
    x = waves(32, (32, 1.0)).reshape(1, 1, 32)
    assert dominant_periods(x, 1).periods.tolist() == [[32]]
    row = layer.narrow.merge()(torch.nn.functional.gelu(layer.widen.merge()(x[:, :, None])))[:, :, 0]
    torch.testing.assert_close(layer(x), x + row, rtol=0, atol=1e-12)


def test_gradients_flow_through_the_amplitudes_and_not_through_the_periods():
    torch.manual_seed(0)
    layer = PeriodFoldConv(1, 2, top_k=2, inception=2, dtype=torch.float64)
    x = (0.1 * waves(24, (12, 1.0), (6, 0.9)) + 0.01 * torch.randn(24)).reshape(1, 1, 24).requires_grad_()
    loss = torch.randn(1, 1, 24, dtype=torch.float64)
    found = dominant_periods(x, 2)
    assert not found.periods.requires_grad
    branches = [
        unfold_period(layer.narrow(torch.nn.functional.gelu(layer.widen(fold_period(x, period)))), 24)
        for period in found.periods[0].tolist()
    ]
    weights = found.amplitudes.softmax(-1)[0]
    held = x + sum(w.detach() * b for w, b in zip(weights, branches, strict=True))
    moving = sum(w * b.detach() for w, b in zip(weights, branches, strict=True))
    through_images, through_weights = (
        torch.autograd.grad((y * loss).sum(), x, retain_graph=True)[0] for y in (held, moving)
    )
    (whole,) = torch.autograd.grad((layer(x) * loss).sum(), x)
    assert through_weights.abs().max() > 1e-3
    torch.testing.assert_close(whole, through_images + through_weights, rtol=0, atol=1e-12)


def test_frequencies_of_one_period_share_its_image():
    torch.manual_seed(0)
    layer = PeriodFoldConv(1, 2, top_k=20, inception=1, dtype=torch.float64)
    x = torch.randn(2, 1, 41, dtype=torch.float64)
    periods = dominant_periods(x, 20).periods[0].tolist()
    assert periods.count(2) == 7  # 14 to 20 cycles in 41 samples
    folded = []
    layer.widen.register_forward_hook(lambda module, given, got: folded.append(given[0].shape[-1]))
    torch.testing.assert_close(layer(x), layer.definition(x), rtol=0, atol=1e-11)
    assert sorted(folded) == sorted(set(periods))
