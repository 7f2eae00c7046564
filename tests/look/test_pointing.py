"""Maps and the objects that they are to point at, and what a map of evidence must give in any case."""

import gc
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from faltung import look
from faltung.errors import ArgumentError

some = settings(max_examples=40, deadline=None)


def drawn(seed, ndim):
    """Maps of three samples, a box for each."""
    draw = torch.Generator().manual_seed(seed)
    sizes = tuple(torch.randint(2, 7, (ndim,), generator=draw).tolist())
    heat = torch.rand(3, *sizes, generator=draw)
    ends = torch.stack(
        [torch.stack([torch.randperm(n + 1, generator=draw)[:2].sort()[0] for n in sizes]) for _ in heat]
    )
    return heat, ends


def inside(ends, sizes):
    """The places of a box."""
    return {
        p for p in itertools.product(*map(range, sizes)) if all(a <= i < b for i, (a, b) in zip(p, ends, strict=True))
    }


@some
@given(seed=st.integers(0, 9999), ndim=st.integers(1, 3), threshold=st.sampled_from([0.3, 0.5, 0.9, 1.0]))
def test_both_scores_are_those_of_sets_of_places(seed, ndim, threshold):
    heat, boxes = drawn(seed, ndim)
    sizes = heat.shape[1:]
    hits, shares = look.pointing_game(heat, boxes), look.box_iou(heat, boxes, threshold)
    for one, ends, hit, share in zip(heat, boxes.tolist(), hits, shares, strict=True):
        own = inside(ends, sizes)
        best = max(itertools.product(*map(range, sizes)), key=lambda p: float(one[p]))
        assert bool(hit) == (best in own)
        high = [p for p in itertools.product(*map(range, sizes)) if one[p] >= threshold * one.max()]
        around = inside([(min(v), max(v) + 1) for v in zip(*high, strict=True)], sizes)
        assert float(share) == pytest.approx(len(own & around) / len(own | around))
    assert look.pointing_game(heat, boxes, 10.0).all()
    for tolerance in (0.5, 1.0, 1.5, 2.0):  # l∞ distance of whole places, the same on both sides
        near = look.pointing_game(heat, boxes, tolerance)
        for one, ends, hit in zip(heat, boxes.tolist(), near, strict=True):
            best = max(itertools.product(*map(range, sizes)), key=lambda p: float(one[p]))
            away = min(max(abs(a - b) for a, b in zip(best, place, strict=True)) for place in inside(ends, sizes))
            assert bool(hit) == (away <= tolerance)
    assert torch.equal(look.box_iou(3 * heat, boxes, threshold), shares)


def test_a_map_of_nothing_finds_nothing():
    assert look.box_iou(torch.zeros(1, 4, 4), [[[0, 4], [0, 4]]]).item() == 0
    near = torch.zeros(1, 6)
    near[0, 1] = 1
    assert not look.pointing_game(near, [[[3, 5]]]).item()
    assert look.pointing_game(near, [[[3, 5]]], 2).item()


@pytest.mark.parametrize(
    "call",
    [
        lambda: look.pointing_game(torch.zeros(1, 4), [[[2, 2]]]),
        lambda: look.pointing_game(torch.zeros(1, 4), [[0, 2]]),
        lambda: look.pointing_game(torch.zeros(1, 4), [[[0, 2]]], -1),
        lambda: look.box_iou(torch.zeros(1, 4), [[[0, 2]]], 0),
    ],
)
def test_wrong_calls_are_refused(call):
    with pytest.raises(ArgumentError):
        call()


class Quadrant(nn.Module):
    """Two classes, by which half of each axis holds more; the features come along."""

    def __init__(self, ndim, several):
        super().__init__()
        self.act, self.ndim, self.several = nn.ReLU(inplace=True), ndim, several

    def forward(self, x):
        features = self.act(1 * x)
        half = features.shape[-1] // 2
        axes = tuple(range(1, x.ndim))
        scores = torch.stack([features[..., :half].mean(axes), features[..., half:].mean(axes)], 1)
        return (scores, features) if self.several else scores


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("several", [False, True])
def test_maps_point_at_what_decides_in_any_number_of_axes_and_with_several_results(ndim, several):
    x = torch.rand(2, 1, *(8,) * ndim) * 0.01
    box = torch.tensor([[1, 3]] * ndim)
    x[(slice(None), slice(None), *(slice(1, 3),) * ndim)] += 1
    for method in ("gradcam++", "gradcam", "layercam", "hires"):
        heat = look.cam(Quadrant(ndim, several), x, target=0, layer="act", method=method)
        assert look.pointing_game(heat, box.expand(2, -1, -1)).all()
        assert (look.box_iou(heat, box.expand(2, -1, -1)) == 1).all()


def test_of_a_map_without_order_putting_in_is_taking_away():
    """A model to which all places are worth the same, and a signal whose blurred values all have a ninth of its size."""

    class Size(nn.Module):
        def forward(self, x):
            seen = x.abs().flatten(1).mean(1)
            return torch.stack([2 * seen, 1 - seen], 1)

    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    x = (1 - 2 * ((rows + columns) % 2)).double()[None, None]
    heat = torch.ones(1, 8, 8)
    put, taken = (
        look.faithfulness(Size(), x, heat, metric, target=0, steps=16, baseline="blur")
        for metric in ("insertion", "deletion")
    )
    torch.testing.assert_close(put, taken, atol=1e-12, rtol=0)


def test_a_hundred_maps_keep_no_memory():
    model, x = Quadrant(1, True), torch.rand(1, 1, 8)

    def held():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    look.cam(model, x)
    before = held()
    for _ in range(100):
        look.cam(model, x)
    assert held() <= before
