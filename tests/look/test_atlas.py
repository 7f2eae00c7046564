"""The atlas of kernels: templates find themselves, names turn and change sign with kernels, and chance is known."""

import numpy as np
import pytest
import torch
from torch import nn

from faltung import look
from faltung.errors import ArgumentError
from faltung.look.atlas import Template, _dictionary


@pytest.mark.parametrize("size", [(5, 5), (7, 7), (9, 7)])
def test_every_template_finds_itself(size):
    templates, matrix = _dictionary(size)
    kernels = matrix.reshape(-1, 1, *size)
    for sign in (1, -1):
        places = look.place_kernels(sign * 3.7 * kernels)
        for template, place in zip(templates, places, strict=True):
            assert place.score > 1 - 1e-9
            same = abs(
                float(
                    Template(place.kind, place.sigma, place.ratio, place.angle).draw(size).ravel()
                    @ template.draw(size).ravel()
                )
            )
            assert same > 1 - 1e-6
            if np.abs(matrix @ template.draw(size).ravel() > 1 - 1e-6).sum() == 1:  # no twin on so few taps
                assert (place.kind, place.sign) == (template.kind, sign)
                assert place.sigma == pytest.approx(template.sigma, rel=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_numbers_between_the_steps_are_fitted(seed):
    rng = np.random.default_rng(seed)
    sigma, angle = rng.uniform(0.9, 1.8), rng.uniform(0, np.pi)
    for kind in ("first", "second"):
        (place,) = look.place_kernels(Template(kind, sigma, 0, angle).draw((9, 9))[None, None])
        assert place.kind == kind
        assert place.sigma == pytest.approx(sigma, rel=0.01)
        assert min(abs(place.angle - angle), np.pi - abs(place.angle - angle)) < 0.02
    (place,) = look.place_kernels(Template("dog", sigma, 2.3).draw((11, 11))[None, None])
    assert place.kind == "dog"
    # The two widths of a difference can make up for each other: the shape is found, its numbers nearly.
    assert place.score > 0.9999
    assert place.sigma == pytest.approx(sigma, rel=0.15)


def test_turning_a_kernel_turns_its_angle():
    kernel = Template("second", 1.2, 0, np.pi / 8).draw((7, 7))
    first, second = look.place_kernels(np.stack([kernel, np.rot90(kernel)])[:, None])
    assert abs((first.angle - second.angle) % np.pi - np.pi / 2) < 1e-3


@pytest.mark.parametrize(
    ("k", "tau", "low", "high"),
    [(3, 0.8, 0.09, 0.13), (3, 0.9, 0.01, 0.02), (5, 0.8, 0, 0.001), (7, 0.8, 0, 0), (7, 0.9, 0, 0)],
)
def test_how_often_chance_gives_a_name(k, tau, low, high):
    assert low <= look.null_rate((k, k), tau) <= high


def test_noise_does_not_change_names():
    templates = [t for t in _dictionary((7, 7))[0] if t.kind in ("dog", "first", "second") and 0.8 < t.sigma < 2]
    rng = np.random.default_rng(0)
    clean = np.stack([t.draw((7, 7)) for t in templates])
    noise = rng.standard_normal(clean.shape)
    noise *= (
        np.linalg.norm(clean, axis=(1, 2), keepdims=True)
        / np.linalg.norm(noise, axis=(1, 2), keepdims=True)
        / np.sqrt(10)
    )
    names = [p.kind for p in look.place_kernels((clean + noise)[:, None])]
    assert np.mean([a == t.kind for a, t in zip(names, templates, strict=True)]) > 0.95


def test_layers_of_a_network():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.Conv2d(6, 6, 7, groups=6), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 6, 1, groups=6)
    )
    with torch.no_grad():
        for channel in range(3):
            net[1].weight[channel, 0] = -torch.from_numpy(Template("first", 1 + channel / 2, 0, channel).draw((7, 7)))
    found = look.kernel_atlas(net, torch.zeros(1, 2, 16, 16))
    assert [row.name for row in found.layers] == ["1", "2"]
    assert found.layers[0].shares["first"] == 0.5
    assert found.layers[0].coverage == 0.5
    assert found.layers[1].note == "chance names many"
    assert found.skipped == ("3: (1, 1) taps",)
    assert "first" in found.table()
    assert [row.name for row in look.kernel_atlas(net).layers] == ["1", "2"]
    assert look.kernel_atlas(net, torch.zeros(1, 2, 16, 16), dense=True).layers[0].coverage <= 1
    assert look.kernel_atlas(net[1].weight.detach()).layers[0].shares["first"] == 0.5
    with pytest.raises(ArgumentError, match="two axes"):
        look.place_kernels(np.zeros((2, 1, 5)))


def test_a_kernel_of_zeros_has_no_name():
    (place,) = look.place_kernels(np.zeros((1, 1, 5, 5)))
    assert (place.kind, place.score) == ("other", 0)
