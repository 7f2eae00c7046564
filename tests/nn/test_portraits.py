"""Portraits: every layer that names one can be built, takes what it says it takes, and is drawn with captions."""

import sys
from pathlib import Path

import pytest
import torch
from torch.utils import _pytree as pytree

from faltung import nn
from faltung.testing.layers import Case, near

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "docs"))
import portraits

NAMED = [kind for kind in nn.ALL if kind.portrait is not None]
FEW = [nn.DCLSConv, nn.TunableConv, nn.DeformConv, nn.PHConv, nn.ELA, nn.PeriodFoldConv, nn.complex.CReLU, nn.Delay1d]


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.name)
def test_portraits_are_instances_that_are_no_toys(kind):
    words = set(kind.portrait.shows)
    assert words <= {*portraits.VIEWS, "stirred", "smooth", "training"}
    assert words & set(portraits.VIEWS)
    case = Case(kind, kind.portrait)
    said = case.layer(torch.float32, device="meta").shapes(*case.shapes())
    assert pytree.tree_leaves(said)
    sizes = pytree.tree_leaves(case.shapes())
    assert max(sizes) >= 13


@pytest.mark.parametrize("kind", FEW, ids=lambda kind: kind.name)
def test_pictures_are_drawn_and_show_something(kind):
    image = portraits.picture(kind)
    assert image.height == portraits.HEIGHT + 2 * portraits.LINE + 4
    assert image.width >= 100
    drawn = dict(map(reversed, image.crop((0, 0, image.width, portraits.HEIGHT)).getcolors(1 << 20)))
    assert len(drawn) >= 3
    assert drawn.get(portraits.LIGHT, 0) < 0.95 * image.width * portraits.HEIGHT
    again = portraits.picture(kind)
    assert again.tobytes() == image.tobytes(), "the seed is fixed"


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(k, marks=pytest.mark.slow) if k.name.startswith("lie-") else k  # half a minute each
        for k in NAMED
        if "training" not in k.portrait.shows
    ],
    ids=lambda kind: kind.name,
)
def test_inference_at_realistic_size_is_the_definition(kind):
    """Some kernels run for large inputs only."""
    case = Case(kind, kind.portrait)
    layer, inputs = case.layer(torch.float32), case.inputs(torch.float32)
    if kind.name == "period-fold":
        inputs = (torch.sin(torch.arange(96.0) * torch.pi / 12).reshape(1, 1, 96),)  # periods of noise hang by a hair
    with torch.no_grad():
        near(layer(*inputs), layer.double().definition(*pytree.tree_map(wide, inputs)), 1e-4, kind.name)


def wide(values):
    return values.to(torch.promote_types(values.dtype, torch.float64))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in NAMED if kind not in FEW], ids=lambda kind: kind.name)
def test_all_pictures_are_drawn(kind):
    assert portraits.picture(kind).width > 0


def test_a_layer_without_a_portrait_has_no_picture():
    assert portraits.picture(nn.OrderAgnosticLoss) is None
