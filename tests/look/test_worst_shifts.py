"""The worst shifts against plain enumeration: planted weaknesses, networks that have none, crops, labels, ties and bad input."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from faltung import look
from faltung import nn as ours
from faltung.errors import ArgumentError, DtypeError

moves = st.tuples(st.integers(-2, 2), st.integers(-2, 2))


def whole(*shape, seed=0, top=5):
    """Whole numbers, whose sums are exact in any order."""
    return torch.randint(-top, top + 1, shape, generator=torch.Generator().manual_seed(seed)).float()


class Spot(nn.Module):
    """Class 1 where the middle of the view is bright, class 0 elsewhere."""

    def forward(self, x):
        bright = x[:, 0, x.shape[2] // 2, x.shape[3] // 2]
        return torch.stack((torch.full_like(bright, 0.5), bright), 1)


class Circular(nn.Module):
    """A circular convolution and a mean over places; whole numbers as weights, so that no sum rounds."""

    def __init__(self, stride=1, classes=3):
        super().__init__()
        self.conv = nn.Conv2d(1, classes, 3, padding=1, padding_mode="circular", stride=stride, bias=False)
        self.conv.weight.data = whole(classes, 1, 3, 3, seed=1)

    def forward(self, x):
        return torch.relu(self.conv(x)).sum((2, 3))


def seen(x, shift, sizes):
    """What a sample (channels, rows, columns) shows after the shift, by addresses."""
    if sizes is None:
        return np.stack([np.roll(c, shift, (0, 1)) for c in x.numpy()])
    top, left = ((n - c) // 2 - t for n, c, t in zip(x.shape[1:], sizes, shift, strict=True))
    return x.numpy()[:, top : top + sizes[0], left : left + sizes[1]]


@settings(max_examples=30, deadline=None)
@given(moves, moves, st.booleans(), st.integers(2, 3))
def test_a_planted_weakness_is_found(first, second, cropped, reach):
    """One bright place: only the shift that brings it to the middle changes the decision."""
    x = torch.zeros(2, 1, 12, 12)
    centre = 6  # of the samples, and of windows of 6 × 6, which begin at 3
    for sample, (a, b) in zip(x, (first, second), strict=True):
        sample[0, centre - a, centre - b] = 2.0
    found = look.shift_adversary(Spot(), x, reach, crop=6 if cropped else None)
    for n, shift in enumerate((first, second)):
        planted = shift != (0, 0)
        # A bright middle is class 1, and every other shift fools it by as much: the shortest counts.
        assert bool(found.fooled[n])
        assert tuple(found.shifts[n].tolist()) == (shift if planted else (0, 1))
        assert found.margins[n] == (-1.5 if planted else -0.5)
        assert found.decisions[n] == (1 if planted else 0)
    assert found.tried == (2 * reach + 1) ** 2 - 1
    assert found.kind == ("crop" if cropped else "circular")
    assert found.rate == 1.0
    assert found.worst_accuracy == 0.0


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([None, (3, 4), (5, 3)]),
    st.tuples(st.integers(0, 2), st.integers(1, 2)),
    st.booleans(),
)
def test_the_worst_of_all_shifts_by_enumeration(seed, sizes, reach, labelled):
    """A linear classifier of whole numbers, of which many scores tie."""
    x = whole(4, 2, 9, 8, seed=seed, top=2)
    rows, columns = sizes or (9, 8)
    weight = whole(3, 2, rows, columns, seed=seed + 1, top=1)
    labels = torch.randint(3, (4,), generator=torch.Generator().manual_seed(seed)) if labelled else None
    found = look.shift_adversary(
        lambda z: torch.einsum("bcij,kcij->bk", z, weight), x, reach, crop=sizes, labels=labels
    )
    for n, sample in enumerate(x):
        score = {
            shift: np.einsum("cij,kcij->k", seen(sample, shift, sizes), weight.numpy())
            for shift in itertools.product(*(range(-r, r + 1) for r in reach))
        }
        wanted = int(score[0, 0].argmax()) if labels is None else int(labels[n])
        margin = {shift: s[wanted] - np.delete(s, wanted).max() for shift, s in score.items()}
        wrong = {shift: int(s.argmax()) != wanted for shift, s in score.items()}
        worst = min((not wrong[s], margin[s], max(map(abs, s)), sum(map(abs, s))) for s in score)
        at = tuple(found.shifts[n].tolist())
        assert (not wrong[at], margin[at], max(map(abs, at)), sum(map(abs, at))) == worst
        assert found.margins[n] == margin[at]
        assert found.decisions[n] == score[at].argmax()
        assert bool(found.right[n]) == (not wrong[0, 0])
        assert bool(found.fooled[n]) == (not wrong[0, 0] and any(wrong.values()))
        assert bool(found.right[n] and not found.fooled[n]) == (not any(wrong.values()))
    assert found.accuracy == found.right.double().mean()
    assert found.rate + found.worst_accuracy == pytest.approx(found.accuracy)
    assert found.accuracy == 1 or labelled


def test_circular_networks_are_fooled_by_no_roll_and_by_cameras():
    x = whole(64, 1, 10, 10, seed=3)
    steady = look.shift_adversary(Circular(), x, 9)
    assert steady.rate == 0
    assert not steady.shifts.any(), "no shift is worse than none"
    assert steady.tried == 99, "rolls that go round are made once"
    assert torch.equal(steady.decisions, Circular()(x).argmax(1))
    assert look.shift_adversary(Circular(), x, 1, crop=8).rate > 0
    strided = look.shift_adversary(Circular(stride=2), x, 2)
    assert strided.rate > 0
    assert ((strided.shifts[strided.fooled] % 2) != 0).any(1).all(), "even shifts change nothing at stride two"
    mean = look.shift_consistency(Circular(stride=2), x, most=3, pairs=2)
    assert 1 - strided.rate <= mean.agree
    embedded = look.embedding_shift_rate(Circular(), x, 9, tolerance=0)
    assert (embedded.rate, embedded.tried) == (0, 99)
    assert not embedded.distances.any()
    assert look.embedding_shift_rate(Circular(stride=2), x, 1, tolerance=0).rate > 0


def test_chosen_crops_are_not_fooled_where_the_winner_is_common():
    torch.manual_seed(0)
    chosen, behind = ours.CropSelect2d(8), nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    scenes = torch.randn(128, 1, 18, 18)
    model = nn.Sequential(chosen, behind)
    found = look.shift_adversary(model, scenes, 1, crop=16)
    places = []
    for a, b in itertools.product((-1, 0, 1), repeat=2):  # where the crops lie in the scene
        places.append(chosen.place(scenes[..., 1 - a : 17 - a, 1 - b : 17 - b]) + torch.tensor([1 - a, 1 - b]))
    common = torch.stack([(place == places[0]).all(1) for place in places]).all(0)
    assert 20 < common.sum() < 128
    assert not found.fooled[common].any()
    assert not found.shifts[common].any(), "the very same pixels, so the very same margins"
    plain = nn.Sequential(nn.Flatten(), nn.Linear(256, 4))
    assert found.rate < look.shift_adversary(plain, scenes, 1, crop=16).rate
    around = nn.Sequential(ours.CropSelect2d(8, cyclic=True), behind)
    assert look.shift_adversary(around, scenes[:16, ..., :9, :9], 4).rate == 0


def test_embeddings_that_turn_by_a_planted_angle():
    """One place to the right the second sample turns by 60°, otherwise nothing does."""

    def model(x):
        mark = x[:, 0, 1, 2]
        return (
            torch.stack((torch.cos(mark * math.pi / 3), torch.sin(mark * math.pi / 3)), 1)
            * (1 + x[:, 0].sum((1, 2)))[:, None]
        )

    x = torch.zeros(2, 1, 4, 5)
    x[1, 0, 1, 1] = 1.0
    found = look.embedding_shift_rate(model, x, 1)
    assert found.rate == 0.5
    torch.testing.assert_close(found.distances, torch.tensor([0, 0.5]).double(), rtol=0, atol=1e-7)
    assert found.shifts.tolist() == [[0, 0], [0, 1]]
    assert found.apart == pytest.approx(0, abs=1e-12)
    assert look.embedding_shift_rate(model, x, 1, tolerance=0.6).rate == 0
    assert look.embedding_shift_rate(model, x, (1, 0)).rate == 0
    assert look.embedding_shift_rate(model, x, 1, crop=(2, 3)).kind == "crop"
    assert "changed" in found.table()
    assert math.isnan(look.embedding_shift_rate(model, x[:1], 1).apart)


def test_scores_and_embeddings_that_are_no_numbers_count_as_lost():
    def model(x):
        bright = x[:, 0, 2] / x[:, 0, 2] * 0  # 0, and NaN for 0
        return torch.stack((bright + 1, bright), 1)

    x = torch.tensor([[[1.0, 1.0, 1.0, 0.0]], [[1.0, 1.0, 1.0, 1.0]]])
    found = look.shift_adversary(model, x)
    assert found.fooled.tolist() == [True, False]
    assert found.margins.tolist() == [-math.inf, 1.0]
    assert "fooled" in found.table()
    assert look.embedding_shift_rate(model, x).distances.tolist() == [math.inf, 0.0]


def test_models_that_work_in_place_leave_the_samples_alone():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    x = torch.randn(3, 2, 12, generator=torch.Generator().manual_seed(0))
    kept = x.clone()
    for crop in (None, 8):
        look.shift_consistency(model, x, crop=crop, most=3, pairs=1)
        look.shift_adversary(model, x, crop=crop)
        look.embedding_shift_rate(model, x, crop=crop)
    assert torch.equal(x, kept)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"max_shift": 0}, "at least one place"), ({"max_shift": (0, 0)}, "at least one place"),
        ({"max_shift": -1}, "max_shift"), ({"max_shift": 1.5}, "max_shift"), ({"max_shift": (1, 1, 1)}, "max_shift"),
        ({"crop": 7}, "smaller crop"), ({"crop": 0}, "crop"), ({"max_shift": 3, "crop": (8, 2)}, "smaller crop"),
    ],
)  # fmt: skip
def test_shifts_that_cannot_be_are_refused(how, said):
    x = torch.zeros(2, 1, 8, 8)
    for look_at in (look.shift_adversary, look.embedding_shift_rate):
        with pytest.raises(ArgumentError, match=said):
            look_at(Circular(), x, **how)


def test_bad_input_is_refused():
    x, model = torch.zeros(2, 1, 8, 8), Circular()
    for look_at in (look.shift_adversary, look.embedding_shift_rate):
        for wrong in (x[0, 0], x[:0], x.numpy()):
            with pytest.raises(ArgumentError, match="samples"):
                look_at(model, wrong)
        with pytest.raises(DtypeError, match="real numbers"):
            look_at(lambda z: torch.complex(model(z), model(z)), x)
    for maps in (model.conv, lambda z: None, lambda z: model(z)[:1], Circular(classes=1)):
        with pytest.raises(ArgumentError, match="classes"):
            look.shift_adversary(maps, x)
    for labels in ([0], [0, 3], [-1, 0], [0.0, 1.0], [True, False], [[0, 1]]):
        with pytest.raises(ArgumentError, match="labels"):
            look.shift_adversary(model, x, labels=labels)
    for embedding in (lambda z: None, lambda z: z.sum(), lambda z: model(z)[:1], lambda z: z[:, :0]):
        with pytest.raises(ArgumentError, match="embedding"):
            look.embedding_shift_rate(embedding, x)
    sizes = iter(range(2, 20))
    with pytest.raises(ArgumentError, match="one size"):
        look.embedding_shift_rate(lambda z: z.flatten(1)[:, : next(sizes)], x)
    for tolerance in (-0.1, 2.1, math.nan, None, True):
        with pytest.raises(ArgumentError, match="tolerance"):
            look.embedding_shift_rate(model, x, tolerance=tolerance)
