"""A network that takes the shortcut is told from one that cannot, and from one that was offered none."""

import numpy as np
import pytest
import torch
from torch import nn

from faltung import look, synth
from faltung.errors import ArgumentError
from faltung.synth import ClasswiseConv


def small():
    return nn.Sequential(
        nn.BatchNorm2d(1), nn.Conv2d(1, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, 2), nn.BatchNorm2d(24),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10),
    )  # fmt: skip


class Tuned(nn.Module):
    """Knows the waves of the ten textures, and hears how loud each is; there is nothing to train."""

    def __init__(self):
        super().__init__()
        rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
        label = torch.arange(10)[:, None, None]
        angle, turns = torch.pi * (label % 5) / 5, torch.where(label < 5, 2.5, 5.0)
        along = 2 * torch.pi * turns * (angle.cos() * rows + angle.sin() * columns) / 16
        self.waves = torch.polar(torch.ones_like(along), along).flatten(1)

    def forward(self, x):
        flat = x.flatten(1)
        return ((flat - flat.mean(1, keepdim=True)).to(self.waves.dtype) @ self.waves.mT).abs()


def untrained(model, x, y):
    """No training."""


def test_a_network_takes_the_shortcut():
    """As published: right about marked pictures, near chance without marks, and led by the mark of another class."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums that are split otherwise would train another network
    before = torch.random.get_rng_state()
    found = look.shortcut_test(small)
    torch.set_num_threads(threads)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert found.clean > 0.75
    assert found.marked > 0.85
    assert found.unmarked < 0.2
    assert found.followed > 0.3
    assert found.reliance > 0.7
    assert "reliance" in found.table()


def step_by_step(change_all, change_some):
    """Training with all pictures changed before and each batch of them changed anew."""

    def fit(model, x, y):
        x, generator = torch.from_numpy(change_all(x.numpy(), y.numpy())).float(), np.random.default_rng(0)
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, 300)
        for some in torch.randint(0, len(x), (300, 64)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(change_some(x[some], generator)), y[some]).backward()
            optimizer.step()
            slower.step()

    return fit


@pytest.mark.parametrize(
    ("change_all", "change_some", "least"),
    [
        (lambda x, y: x, lambda x, rng: synth.low_cosines(synth.sharpen(x, generator=rng), 0.8), 0.25),
        (lambda x, y: ClasswiseConv(0, 10).restored(x, y, 1e-4), lambda x, rng: x, 0.45),
    ],
    ids=["sharpened", "restored"],
)
def test_changes_against_the_mark_let_a_network_learn_what_it_hid(change_all, change_some, least):
    """The share of unmarked pictures that come out right: a tenth without a change, by the test above."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums that are split otherwise would train another network
    found = look.shortcut_test(small, fit=step_by_step(change_all, change_some))
    torch.set_num_threads(threads)
    assert found.unmarked > least


def test_one_that_hears_the_texture_does_not():
    found = look.shortcut_test(Tuned, fit=untrained)
    assert found.clean == found.unmarked > 0.9
    assert found.marked > 0.5
    assert found.followed < 0.2
    assert found.reliance == 0


def test_without_marks_there_is_none():
    def briefly(model, x, y):
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for some in torch.randint(0, len(x), (100, 64)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[some]), y[some]).backward()
            optimizer.step()

    found = look.shortcut_test(small, fit=briefly, mark=ClasswiseConv(0, 10, mix=0.0))
    assert found.clean == found.marked == found.unmarked > 0.2
    assert found.followed < found.clean
    assert found.reliance == 0


def test_pictures_of_ones_own():
    """Two classes that only the mark tells apart: nothing to be learnt without, everything with it."""
    x, y = np.random.default_rng(0).random((200, 3, 8, 8)), np.arange(200) % 2

    class Spectrum(nn.Module):
        """The class whose mean spectrum is nearest."""

        def of(self, x):
            return torch.fft.rfft2(x).abs().log().mean(1)

        def fit(self, x, y):
            self.centres = torch.stack([self.of(x[y == c]).mean(0) for c in (0, 1)])

        def forward(self, x):
            assert x.shape == (60, 3, 8, 8)
            return -(self.of(x)[:, None] - self.centres).square().sum((2, 3))

    mark, fit = ClasswiseConv(3, 2), Spectrum.fit
    found = look.shortcut_test(Spectrum, torch.from_numpy(x), torch.from_numpy(y), fit=fit, mark=mark)
    assert found.marked > 0.9
    assert found.followed > 0.9
    assert abs(found.clean - 0.5) < 0.2
    assert found.chance == 0.5


def test_reliance_of_what_learns_nothing():
    assert np.isnan(look.Shortcut(0.1, 0.9, 0.1, 0.9, 0.1).reliance)
    assert look.Shortcut(0.9, 0.9, 0.5, 0.4, 0.1).reliance == pytest.approx(0.5)


X = np.zeros((6, 1, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: look.shortcut_test(Tuned, X), "pass both"),
        (lambda: look.shortcut_test(Tuned, X, [0, 1, 2]), "pass both"),
        (lambda: look.shortcut_test(Tuned, X, [0] * 6), "two classes"),
        (lambda: look.shortcut_test(Tuned, X, [0, 1, 2] * 2, mark=ClasswiseConv(0, 2)), "marks for 2"),
        (lambda: look.shortcut_test(Tuned, held_out=1.0), "held_out"),
        (lambda: look.shortcut_test(Tuned, X, [0, 1] * 3, held_out=0.99), "pass more"),
        (lambda: look.shortcut_test(nn.Identity, fit=untrained), "batch, classes"),
    ],
)
def test_wrong_calls_are_refused(call, word):
    with pytest.raises(ArgumentError, match=word):
        call()
