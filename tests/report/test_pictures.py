"""Pictures say what their captions say: heights, shares and tiles are read back and held against the public functions."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from torch import nn

from faltung import look
from faltung.look.atlas import Template
from faltung.readers import read
from faltung.report import charts, inspect, pictures
from faltung.report.section import WHOLE, Subject
from faltung.report.sections import effective, shifts
from faltung.report.sections.spectrum import along

PIL = pytest.importorskip("PIL.Image")


def pixels(body):
    """The picture within the page, as numbers 0 to 255."""
    return np.asarray(PIL.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", body).group(1)))), float)


def pictured(report, start):
    """The one picture whose caption begins so."""
    ((body, words),) = [(b, w) for b, w in report.pictures if w.startswith(start)]
    assert re.search(r'(alt|aria-label)="[^"]{20,}', body)
    return body, words


def test_the_spectrum_is_the_symbols():
    layer = nn.Conv1d(1, 1, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[-1.0, 2, -1]]]))
    omega = np.linspace(0, np.pi, 33)
    x = torch.zeros(1, 1, 9)
    np.testing.assert_allclose(along(read(layer, x).convolutions[0]), 2 - 2 * np.cos(omega), atol=1e-12)
    body, words = pictured(inspect(nn.Sequential(layer, nn.ReLU(), nn.Conv1d(1, 1, 3)), x), "σ max over the frequency")
    assert "0 (largest at 1 π)" in words
    heights = [float(p.split(",")[1]) for p in re.search(r'points="([^"]+)"', body).group(1).split()]
    assert heights == sorted(heights, reverse=True)  # higher up is less
    assert body.count("<polyline") == 2


def test_spectra_are_of_a_few_layers_and_of_both_ends():
    torch.manual_seed(0)
    model = nn.Sequential(*[layer for _ in range(9) for layer in (nn.Conv2d(2, 2, 3, padding=1), nn.ReLU())])
    body, words = pictured(inspect(model, torch.zeros(1, 2, 8, 8)), "σ max over the frequency")
    assert body.count("<polyline") == 6
    assert ": 0 (" in words
    assert ", 16 (" in words


class AtAPlace(nn.Module):
    """Decides by one place of the picture."""

    def forward(self, x):
        return torch.stack((x[:, 0, 8, 8], 0.5 - x[:, 0, 8, 8]), 1)


def test_the_map_of_shifts_is_what_was_kept():
    torch.manual_seed(0)
    x = torch.zeros(8, 1, 16, 16)
    x[::2, 0, 7:10, 7:10] = 1  # one place around the middle is safe, two are not, for every other sample
    model = AtAPlace()
    subject = Subject(read(model, x), "full", model, x[:1], batch=x)
    values = shifts.steadiness(subject, x)
    assert values["fooled"] == look.shift_adversary(model, x, 3).rate == 0.5
    body, words = pictured(Pictured(subject), "Answers kept")
    assert "fewest, 50%, when moved by" in words
    shares = {n: float(s) for s, n in re.findall(r'fill-opacity="([\d.]+)"[^>]*><title>(\(.*?\)): ', body)}
    assert len(shares) == 49
    for name, share in shares.items():
        down, across = map(int, name.strip("()").split(","))
        assert share == (1 if max(abs(down), abs(across)) <= 1 else 0.5), name
    assert body.count("var(--bad)") == 1


class Pictured:
    """What stands in for a report: the pictures of a subject."""

    def __init__(self, subject):
        self.pictures = subject.pictures


@pytest.mark.parametrize("seed", range(3))
def test_samples_that_a_shift_fools_are_those_of_the_public_function(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 3)).eval()
    x = torch.randn(8, 1, 16, 16)
    found = inspect(model, x[:1], data=x, level="full")
    assert found.layers[WHOLE]["fooled"] == look.shift_adversary(model, x, 3).rate
    pictured(found, "Answers kept")


def test_the_effective_field_is_darkest_where_it_is_largest():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 5, padding=2), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1)).eval()
    x = torch.randn(2, 1, 17, 17)
    subject = Subject(read(model, x[:1]), "full", model, x[:1], batch=x)
    from faltung.readers import replay

    subject.replay = replay(model, x[:1])
    assert "2" in effective.fill(subject)
    body, _ = pictured(Pictured(subject), "Effective field of 2")
    dark = 255 - pixels(body)[..., 1]
    scale = len(dark) // 17
    field = look.effective_receptive_field(model, x[:1], layer="2").field
    assert dark.shape == (17 * scale, 17 * scale)
    small = dark[scale // 2 :: scale, scale // 2 :: scale]
    assert np.unravel_index(small.argmax(), small.shape) == np.unravel_index(field.argmax(), field.shape)
    assert (small[field < 1e-4 * field.max()] == 0).all()


def test_heat_falls_with_the_logarithm():
    shades = 255 - pixels(pictures.heat(np.array([[1.0, 0.1, 0.01, 0.001, 0.0]]), "steps"))[0, 48::96, 0]
    np.testing.assert_allclose(shades / shades[0], [1, 2 / 3, 1 / 3, 0, 0], atol=0.01)


def test_the_mosaic_shows_named_kernels_in_order():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(6, 6, 7, groups=6), nn.ReLU())
    kinds = [
        Template("first", 1.2),
        Template("gaussian", 1.5),
        Template("first", 1.2, angle=1.0),
        Template("dog", 1.0, 2.0),
    ]
    with torch.no_grad():
        for n, kind in enumerate(kinds):
            model[0].weight[n, 0] = torch.tensor(kind.draw((7, 7)))
    body, words = pictured(inspect(model, torch.zeros(1, 6, 9, 9)), "Atlas of depthwise kernels")
    assert words.endswith("in this order: 1 gaussian, 1 dog, 2 first.")
    sheet = pixels(body)
    scale = 480 // 15
    tile = sheet[scale // 2 : 7 * scale : scale, scale // 2 : 7 * scale : scale, 0]
    blob = kinds[1].draw((7, 7))
    np.testing.assert_allclose(tile / 255, (blob - blob.min()) / np.ptp(blob), atol=0.01)


def test_networks_without_such_layers_have_no_such_pictures():
    report = inspect(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.zeros(1, 3, 2, 2))
    assert [words.partition(":")[0] for _, words in report.pictures] == ["Waterline"]


def test_charts_name_what_they_show():
    assert "a &lt;b&gt;" in charts.lines([("a <b>", [1.0, 2.0])], "label", ("0", "π"))
    assert "a &lt;b&gt;" in charts.cells([[0.5]], [["a <b>"]], "label")
