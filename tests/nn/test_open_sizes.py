"""Exported programs with sizes left open: one program for every batch and every image, stored and loaded."""

import io

import pytest
import torch
from torch.export import Dim, export, load, save
from torch.utils import _pytree as pytree

from faltung import nn
from faltung.errors import ArgumentError
from faltung.testing.layers import cases, near

SIZED = [
    (nn.CoordConv2d, {"padding": 1, "radius": True}),
    (nn.CoordConv2d, {"padding": "same", "padding_mode": "circular", "axes": (0,), "groups": 2}),
    (nn.CoordConv2d, {"stride": 2, "padding": 1, "step": 0.1, "padding_mode": "reflect", "bias": False}),
    (nn.Conv2d, {"stride": (2, 1), "dilation": (1, 2), "padding": (0, 3), "groups": 2, "padding_mode": "replicate"}),
    (nn.Conv2d, {"padding": "valid"}),
    (nn.ConvTranspose2d, {"stride": 2, "padding": 1, "output_padding": (0, 1), "groups": 2}),
    (nn.ConvTranspose2d, {"stride": 3, "dilation": 2, "padding_mode": "circular"}),
]


def opened(layer, inputs, axes):
    """The layer as a program whose sizes along these axes are open, after a stay in a file."""
    free = pytree.tree_map(lambda a: {n: Dim.DYNAMIC for n in axes if n < a.ndim}, list(inputs))
    stored = io.BytesIO()
    save(export(layer, inputs, dynamic_shapes=tuple(free)), stored)
    stored.seek(0)
    return load(stored).module()


@pytest.mark.parametrize(("kind", "settings"), SIZED)
def test_every_batch_and_image_goes_through_one_program(kind, settings):
    torch.manual_seed(0)
    layer = kind(2, 4, 3, **settings).eval()
    program = opened(layer, (torch.randn(2, 2, 8, 9),), (0, 2, 3))
    for shape in ((1, 2, 8, 9), (5, 2, 13, 6), (2, 2, 40, 41)):
        x = torch.randn(shape)
        torch.testing.assert_close(program(x), layer(x), rtol=1e-5, atol=1e-5)


def test_coordinates_are_those_of_the_size_that_comes():
    layer = nn.CoordConv1d(1, 1, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.0, 1.0]).reshape(1, 2, 1))
    program = opened(layer, (torch.zeros(1, 1, 7),), (2,))
    for n in (2, 3, 11):
        torch.testing.assert_close(program(torch.zeros(1, 1, n))[0, 0], torch.linspace(-1, 1, n))


def test_a_program_with_open_sizes_can_be_differentiated():
    layer = nn.Conv2d(2, 3, 3, padding=1, dtype=torch.float64)
    program = opened(layer, (torch.zeros(2, 2, 5, 5, dtype=torch.float64),), (0, 2, 3))
    x = torch.randn(1, 2, 6, 4, dtype=torch.float64, requires_grad=True)
    (ours,) = torch.autograd.grad(program(x).square().sum(), x)
    (wanted,) = torch.autograd.grad(layer(x).square().sum(), x)
    torch.testing.assert_close(ours, wanted)
    assert torch.autograd.gradcheck(program, (x,))


def test_fixed_sizes_are_planned_as_before():
    program = export(nn.Conv1d(1, 1, 3), (torch.zeros(1, 1, 8),))
    assert "faltung.solve" in str(program.graph)
    assert "faltung.layer" not in str(program.graph)


def test_wrong_sizes_are_refused_when_they_come():
    program = opened(nn.ConvTranspose1d(1, 1, 3, padding=2), (torch.zeros(2, 1, 9),), (2,))
    with pytest.raises((ArgumentError, AssertionError, RuntimeError)):
        program(torch.zeros(2, 1, 2))


PLANNED = {
    "CondConv": "its way of mixing is chosen by the batch", "CondConvTranspose": "the same",
    "CrossDConv2d": "the same", "TunableConv": "the same", "ContourConv": "as complex Conv",
    "Conv": "complex: three or four products are chosen by the size",
}  # fmt: skip
"""Layers that choose a way to compute by sizes, not only a plan for one convolution: theirs stay constants."""
OPEN = [
    kind for kind in nn.ALL
    if not kind.eager_only and (kind.__name__ not in PLANNED or kind is nn.Conv)
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("kind", OPEN, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_batches_of_all_layers_but_the_named_ones_may_be_open(kind):
    case = cases([kind])[0]
    layer = case.layer(torch.float32)
    program = opened(layer, case.inputs(torch.float32, change=lambda s: (max(2, s[0]), *s[1:])), (0,))
    more = case.inputs(torch.float32, change=lambda s: (s[0] + 3, *s[1:]))
    near(program(*more), layer(*more), 1e-4, "exported with an open batch")
