"""Receptive fields: published sizes, agreement with NaN that is put in, and what is not known."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from faltung import look, readers
from faltung.errors import ArgumentError
from faltung.look.receptive import reads

sys.path.insert(0, str(Path(__file__).parent))
from architectures import Basic, Bottleneck, Branches, ResNet, UNet, vgg16_features


def on_meta(make):
    with torch.device("meta"):
        return make().eval()


def test_the_reference_networks():
    x = torch.zeros(1, 3, 224, 224, device="meta")
    small = look.receptive_field(on_meta(lambda: ResNet(Basic, (2, 2, 2, 2))), x)
    assert small["layer4.1.conv2"].size == (435, 435)
    assert small["layer4.1.conv2"].jump == (32, 32)
    assert small["layer4.1.conv2"].least == (139, 139)  # the stem, its pool, the ways around, then 2 · 2 · 32
    vgg = look.receptive_field(on_meta(vgg16_features), x)
    assert vgg.layers[-1].size == vgg.layers[-1].least == (212, 212)
    deep = look.receptive_field(
        on_meta(lambda: ResNet(Bottleneck, (3, 4, 6, 3))), x, layers=["layer3.5.conv3", "layer4.2.conv3"]
    )
    assert [row.size for row in deep.layers] == [(267, 267), (427, 427)]


NETS = {
    "vgg": lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3, padding=1), nn.MaxPool2d(2)),
    "resnet": lambda: nn.Sequential(nn.Conv2d(1, 2, 7, 2, 3), nn.MaxPool2d(3, 2, 1), Basic(2, 2, 1), Basic(2, 4, 2)),
    "inception": lambda: nn.Sequential(Branches(2, 1, 2), nn.MaxPool2d(3, 2, 1), Branches(2, 8, 2)),
    "unet": lambda: UNet(2, 2),
    "dilated": lambda: nn.Sequential(nn.Conv2d(1, 1, 3, dilation=3, padding=2), nn.ReflectionPad2d(2), nn.Conv2d(1, 1, (2, 5))),
    "circular": lambda: nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), nn.AvgPool2d(3, 2, 1)),
    "up": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.PixelShuffle(2), nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3)),
    "bilinear": lambda: nn.Sequential(nn.Conv2d(1, 1, 3), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(1, 1, 3)),
    "cubic": lambda: nn.Sequential(nn.Upsample(scale_factor=2, mode="bicubic"), nn.PixelUnshuffle(2)),
    "corners": lambda: nn.Upsample(scale_factor=3, mode="bilinear", align_corners=True),
    "transposed": lambda: nn.Sequential(nn.Conv2d(1, 1, 3, 2), nn.ConvTranspose2d(1, 1, 5, 3, 2, 1, dilation=2)),
    "adaptive": lambda: nn.Sequential(nn.Conv2d(1, 1, 3), nn.AdaptiveAvgPool2d((3, 5))),
    "instance": lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.InstanceNorm2d(2)),
    "global": lambda: Squeeze(),
}  # fmt: skip


class Squeeze(nn.Module):
    """A gate that has seen everything."""

    def __init__(self):
        super().__init__()
        self.a, self.gate, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 4), nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x):
        y = self.a(x)
        return self.b(y * torch.sigmoid(self.gate(y.mean((2, 3))))[:, :, None, None])


@pytest.mark.parametrize("name", NETS)
def test_the_formula_is_what_nan_reaches(name):
    torch.manual_seed(0)
    model, x = NETS[name]().eval(), torch.zeros(1, 1, 24, 20)
    network = readers.read(model, x)
    with torch.no_grad():
        shape = model(x).shape[2:]
    for at in {tuple(n // 2 for n in shape), (0, 0), tuple(n - 1 for n in shape), (shape[0] // 3, shape[1] // 2)}:
        try:
            wanted = look.probed_field(model, x, at)
        except ArgumentError:  # holes of a dilated transposed convolution: nothing reaches them
            assert name == "transposed"
            with pytest.raises(ArgumentError, match="a node that reads"):
                reads(network, network.outputs[0], at, clip=True)
        else:
            assert reads(network, network.outputs[0], at, clip=True)[2:] == wanted


@pytest.mark.parametrize("ndim", [1, 3])
def test_other_dimensions(ndim):
    model = UNet(ndim, 2).eval()
    x = torch.zeros(1, 1, *(8,) * ndim)
    network = readers.read(model, x)
    for at in ((0,) * ndim, (3,) * ndim):
        assert reads(network, network.outputs[0], at, clip=True)[2:] == look.probed_field(model, x, at)


def test_paths_of_different_length():
    net = nn.Sequential(Branches(1, 1, 2), Branches(1, 8, 2))
    row = look.receptive_field(net, torch.zeros(1, 1, 32)).layers[-1]
    assert (row.size, row.least, row.jump, row.start) == ((9,), (1,), (1,), (-4,))


def test_up_and_down_have_fractions_and_attention_sees_all():
    net = nn.Sequential(nn.Conv1d(1, 1, 3, 2, 1), nn.ConvTranspose1d(1, 1, 6, 4, 1))
    assert look.receptive_field(net, torch.zeros(1, 1, 16)).layers[1].jump == (0.5,)
    row = look.receptive_field(Squeeze(), torch.zeros(1, 1, 24, 20))["b"]
    assert row.size == (24, 20)
    assert row.least == (5, 5)
    assert row.whole == (True, True)


def test_layers_that_can_add_nothing():
    net = nn.Sequential(*[nn.Conv1d(1, 1, 5, padding=2) for _ in range(5)])
    assert look.receptive_field(net, torch.zeros(1, 1, 9)).unproductive == ("2", "3", "4")
    assert "field" in look.receptive_field(net, torch.zeros(1, 1, 9)).table()


def test_what_is_not_known_is_said():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3)

        def forward(self, x):
            return torch.cumsum(self.conv(torch.roll(x, 3, -1)), -1)

    rows = look.receptive_field(Turned(), torch.zeros(1, 1, 9)).layers
    assert rows[0].size is None
    assert "roll" in rows[0].note
    assert "?" in look.receptive_field(Turned(), torch.zeros(1, 1, 9)).table()


@pytest.mark.parametrize("taps", [3, 5])
def test_the_spread_of_stacked_means(taps):
    box = nn.Conv2d(1, 1, taps, padding=taps // 2, bias=False)
    nn.init.constant_(box.weight, 1.0)
    found = look.effective_receptive_field(nn.Sequential(*[box] * 6), torch.randn(1, 1, 41, 41))
    assert found.spread == pytest.approx([(6 * (taps**2 - 1) / 12) ** 0.5] * 2, rel=1e-5)
    assert found.sides[0.2] <= found.sides[0.5] <= found.sides[0.99] <= found.logarithmic[0.99] <= 41
    assert "spread" in found.table()


def test_places_and_fields_of_layers_inside():
    box = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    nn.init.constant_(box.weight, 1.0)
    net = nn.Sequential(box, nn.ReLU(inplace=True), nn.Conv1d(1, 1, 5, padding=2))
    x = torch.rand(2, 1, 21)
    first, last = (look.effective_receptive_field(net, x, layer=name) for name in ("0", "2"))
    assert (first.places(), first.places(0.6), first.places(0.3)) == (3, 2, 1)
    assert last.places(1.0) == look.receptive_field(net, x)["2"].size[0] == 7
    np.testing.assert_allclose(last.field, look.effective_receptive_field(net, x).field)
    with pytest.raises(ArgumentError, match="name a node"):
        look.effective_receptive_field(net, x, layer="7")


def test_wrong_calls():
    conv = nn.Conv1d(1, 1, 3)
    with pytest.raises(ArgumentError, match="pass an example"):
        look.receptive_field(conv)
    with pytest.raises(ArgumentError, match="batch of signals"):
        look.receptive_field(nn.Linear(3, 3), torch.zeros(2, 3))
    with pytest.raises(ArgumentError, match="a place inside"):
        look.probed_field(conv, torch.zeros(1, 1, 9), (9,))
    with pytest.raises(ArgumentError, match="depends on the input"):
        look.probed_field(
            nn.Sequential(conv, nn.Threshold(1e9, 0)), torch.zeros(1, 1, 9)
        ) if False else look.probed_field(Zero(), torch.zeros(1, 1, 9))


class Zero(nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)
