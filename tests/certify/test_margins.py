"""Distances within which classes are kept: exact for linear maps, never beyond what an attack needs, one norm beside the other."""

import pytest
import torch
from torch import nn

from faltung.certify import radius
from faltung.errors import ArgumentError


def network(seed, convolution):
    torch.manual_seed(seed)
    if convolution:
        parts = [
            nn.Conv1d(2, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(4, 4, 3, stride=2),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(12, 3),
        ]
        return nn.Sequential(*parts).double(), torch.randn(4, 2, 8, dtype=torch.float64)
    parts = [nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)]
    return nn.Sequential(*parts).double(), torch.randn(4, 6, dtype=torch.float64)


def attacked(model, x, eps, steps=40):
    """Whether some step against the margin within a box of that width changes a class."""
    labels, fooled = model(x).argmax(1), torch.zeros(len(x), dtype=torch.bool)
    wide = eps.reshape(-1, *[1] * (x.ndim - 1))
    for start in (torch.zeros_like(x), 2 * torch.rand_like(x) - 1):
        at = x + wide * start
        for _ in range(steps):
            at = at.detach().requires_grad_()
            logits = model(at)
            own = logits.gather(1, labels[:, None])[:, 0]
            rival = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
            fooled |= rival > own
            (slope,) = torch.autograd.grad((rival - own).sum(), at)
            at = torch.minimum(torch.maximum(at + 0.2 * wide * slope.sign(), x - wide), x + wide)
    return fooled


@pytest.mark.parametrize("classes", [2, 5])
def test_of_a_linear_map_it_is_the_distance_to_the_nearest_border(classes):
    torch.manual_seed(0)
    model, x = nn.Linear(7, classes).double(), torch.randn(6, 7, dtype=torch.float64)
    logits, rows = model(x).detach(), model.weight.detach()
    for norm, order in (("linf", 1), ("l2", 2)):
        found = radius(model, x, norm=norm, rtol=1e-4)
        for one, scores, reach in zip(x, logits, found, strict=True):
            label = int(scores.argmax())
            exact = min(
                float((scores[label] - scores[j]) / torch.linalg.vector_norm(rows[label] - rows[j], order))
                for j in range(classes)
                if j != label
            )
            assert exact * (1 - 3e-4) <= float(reach) <= exact * (1 + 1e-9), one


@pytest.mark.parametrize("convolution", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_within_it_no_attack_succeeds_and_not_far_beyond_some_do(convolution, seed):
    model, x = network(seed, convolution)
    boxes, balls = radius(model, x, norm="linf"), radius(model, x)
    size = x[0].numel() ** 0.5
    assert (boxes >= balls / size * (1 - 1e-9)).all()
    assert boxes.mean() > 1.5 * balls.mean() / size  # l2 knows nothing of signs
    assert not attacked(model, x, boxes).any()
    assert attacked(model, x, 6 * boxes + 0.2).any()


def test_what_has_another_label_has_no_distance():
    model, x = network(0, False)
    wrong = (model(x).argmax(1) + 1) % 3
    assert (radius(model, x, wrong, norm="linf") == 0).all()
    single = model.float()
    assert radius(single, x.float(), norm="linf").dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda x: radius(nn.Linear(6, 3).double(), x, norm="l1"), "a norm among"),
        (lambda x: radius(nn.Sequential(nn.Linear(6, 3), nn.GELU()).double(), x, norm="linf"), "gelu"),
    ],
)
def test_wrong_calls_are_refused(call, word):
    with pytest.raises(ArgumentError, match=word):
        call(torch.randn(1, 6, dtype=torch.float64))
