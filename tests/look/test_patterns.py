"""Patterns mined from filters: a stamp that was put in is found where it was put, and what all classes share is not."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from faltung import look
from faltung.errors import ArgumentError

STAMP = torch.tensor([[3.0, -2.0, 3.0], [-2.0, 4.0, -2.0], [3.0, -2.0, 3.0]])
SHARED = torch.tensor([[-1.0, 1.0, -1.0], [1.0, 1.0, 1.0], [-1.0, 1.0, -1.0]])
CORNERS = ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))


def stamped(seed, count=10, n=20, noise=0.1):
    """Images of two classes: class 1 bears the stamp, all bear another one; and the stamps' first places."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(noise * rng.standard_normal((count, 1, n, n))).float()
    labels = np.arange(count) % 2
    at = rng.integers(6, n - 9, (count, 2))
    for i, (row, column) in enumerate(at):
        if labels[i]:
            x[i, 0, row : row + 3, column : column + 3] += STAMP
        x[i, 0, 1:4, 1 + i % 5 : 4 + i % 5] += SHARED
    return x, labels, at


def matched(spread=1):
    """Filters of 7 × 7 taps with the stamp in each corner and the middle; for what all share; none; for noise."""
    conv = nn.Conv2d(1, 8, 7, padding=3, bias=False)
    with torch.no_grad():
        conv.weight.zero_()
        for channel, (row, column) in enumerate(CORNERS):
            conv.weight[channel, 0, row : row + 3, column : column + 3] = spread * STAMP
        conv.weight[5, 0, 2:5, 2:5] = SHARED
        conv.weight[7, 0, 3, 3] = -0.01
    return nn.Sequential(conv, nn.ReLU(inplace=True))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 999), spread=st.sampled_from([1, 100]))
def test_the_region_is_the_stamp(seed, spread):
    """Five windows that hold the stamp in their corners and middle have nothing else in common."""
    x, labels, at = stamped(seed)
    found = look.mined_patterns(matched(spread), x, labels, "1", sets=1)
    (pattern,) = found.of(1)
    assert sorted(pattern.filters) == [0, 1, 2, 3, 4]
    assert (pattern.share, pattern.others) == (1.0, 0.0)
    assert pattern.regions == {int(i): tuple((int(p), int(p) + 2) for p in at[i]) for i in np.flatnonzero(labels == 1)}
    assert all(5 not in p.filters and 6 not in p.filters for p in found.patterns)


def test_each_filter_more_narrows_the_region():
    x, labels, at = stamped(3)
    regions = [look.mined_patterns(matched(), x, labels, "1", size=s, sets=1).of(1)[0].regions for s in range(1, 6)]
    sizes = [[np.prod([b - a + 1 for a, b in box]) for box in r.values()] for r in regions]
    assert sizes[0] == [49] * 5
    assert sizes[-1] == [9] * 5
    assert all(b <= a for old, new in pairwise(sizes) for a, b in zip(old, new, strict=True))
    for r in regions:
        assert all(a <= p and p + 2 <= b for i, box in r.items() for (a, b), p in zip(box, at[i], strict=True))


def test_a_deeper_layer_gives_its_own_field():
    """One filter behind a stride: the region is the receptive field that the formula says, and holds the stamp."""
    x, labels, at = stamped(4, n=24)
    net = nn.Sequential(matched(), nn.MaxPool2d(2), nn.Conv2d(8, 1, 1, bias=False))
    with torch.no_grad():
        net[2].weight[:] = 0
        net[2].weight[0, 4] = 1
    (pattern,) = look.mined_patterns(net, x, labels, "2").of(1)
    field = look.receptive_field(net, x)["2"].size
    assert len(pattern.regions) == 5
    for i, box in pattern.regions.items():
        assert tuple(b - a + 1 for a, b in box) == field == (8, 8)
        assert all(a <= p and p + 2 <= b for (a, b), p in zip(box, at[i], strict=True))


def test_filters_that_fire_far_apart_are_no_pattern():
    """Two bright places that no window holds both: they fire together, but share nothing."""
    x = torch.zeros(6, 2, 30)
    x[:3, 0, 3], x[:3, 1, 25] = 1, 1
    net = nn.Sequential(nn.Conv1d(2, 2, 5, padding=2, groups=2, bias=False))
    nn.init.zeros_(net[0].weight).data[:, 0, 2] = 1
    found = look.mined_patterns(net, x, [7, 7, 7, 2, 2, 2], "0")
    assert [(p.label, p.filters) for p in found.patterns] == [(7, (0,)), (7, (1,))]
    assert [p.regions[0] for p in found.patterns] == [((1, 5),), ((23, 27),)]
    x[:3, 1] = x[:3, 1].roll(-20, -1)
    (one,) = look.mined_patterns(net, x, [7, 7, 7, 2, 2, 2], "0").patterns
    assert one.filters == (0, 1)
    assert one.regions[2] == ((3, 5),)


def test_many_and_few_and_the_limits_of_sets():
    x, labels, _ = stamped(5)
    x[1] = 0.0  # one of the five images of class 1
    x[0, 0, 8:11, 8:11] += STAMP  # one of the five others
    net = matched()
    (pattern,) = look.mined_patterns(net, x, labels, "1", few=0.2, sets=1).of(1)
    assert (pattern.share, pattern.others) == (0.8, 0.2)
    assert 1 not in pattern.regions
    assert set(pattern.regions) == {3, 5, 7, 9}
    assert not look.mined_patterns(net, x, labels, "1", few=0.19).of(1)
    assert not look.mined_patterns(net, x, labels, "1", many=0.81).of(1)
    pairs = look.mined_patterns(net, x, labels, "1", size=2, sets=9).of(1)
    assert sorted(c for p in pairs for c in p.filters if c < 5) == [0, 1, 2, 3, 4]
    assert all(len(p.filters) <= 2 for p in pairs)
    assert len(look.mined_patterns(net, x, labels, "1", size=1, sets=2).of(1)) == 2


def test_it_repeats_and_names_follow_their_filters():
    x, labels, _ = stamped(6, noise=1.0)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 12, 5), nn.ReLU())
    call = {"many": 0.1, "few": 0.9, "level": 0.6}
    first = look.mined_patterns(net, x, labels, "1", **call)
    assert first == look.mined_patterns(net, x, labels, "1", **call)
    assert len(first.patterns) > 2
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    moved = look.mined_patterns(net, x[order], labels[order.numpy()], "1", **call)
    assert [(p.label, p.filters, p.share, p.others) for p in moved.patterns] == [
        (p.label, p.filters, p.share, p.others) for p in first.patterns
    ]
    for a, b in zip(first.patterns, moved.patterns, strict=True):
        assert a.regions == {int(order[i]): box for i, box in b.regions.items()}
    assert "of others" in first.table()


class Turned(nn.Module):
    def forward(self, x):
        return torch.cumsum(x, -1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layer": "9"}, "name another node"),
        ({"layer": "3"}, "name another node"),
        ({"labels": [0, 1]}, "label every image"),
        ({"labels": [0] * 10}, "label every image"),
        ({"labels": [0.5, 1] * 5}, "label every image"),
        ({"level": 1.0}, "leave them out"),
        ({"many": 0.0}, "leave them out"),
        ({"few": 1.5}, "leave them out"),
        ({"size": 0}, "size"),
        ({"sets": 0.5}, "sets"),
        ({"source": nn.Sequential(nn.Conv2d(1, 1, 3), Turned()), "layer": "1.cumsum"}, "take a layer before it"),
    ],
)
def test_what_is_refused(change, said):
    x, labels, _ = stamped(0)
    source = nn.Sequential(matched(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    call = {"source": source, "images": x, "labels": labels, "layer": "1", **change}
    with pytest.raises(ArgumentError, match=said):
        look.mined_patterns(**call)
