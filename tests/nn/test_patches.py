"""Stem and downsampling of InceptionNeXt: the reference composition, one convolution in evaluation, a whole small net."""

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError


def stirred(layer, x):
    torch.manual_seed(2)
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_()
    layer.train()(x)
    return layer


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_it_is_norm_and_convolution_of_torch(first, train):
    x = torch.randn(4, 3, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    make = nn.PatchMerge2d if first else nn.PatchStem2d
    layer = stirred(make(3, 5, dtype=torch.float64), x)
    patch = layer.kernel_size[0]
    assert patch == (2 if first else 4)
    conv = torch.nn.Conv2d(3, 5, patch, patch, dtype=torch.float64)
    conv.load_state_dict({"weight": layer.weight, "bias": layer.constant})
    norm = torch.nn.BatchNorm2d(3 if first else 5, dtype=torch.float64)
    norm.load_state_dict(layer.norm.state_dict())
    plain = torch.nn.Sequential(*((norm, conv) if first else (conv, norm))).train(train)
    torch.testing.assert_close(layer.train(train)(x), plain(x))
    torch.testing.assert_close(layer.norm.running_var, norm.running_var)


@pytest.mark.parametrize("make", [nn.PatchStem2d, nn.PatchMerge2d])
def test_evaluation_is_one_convolution_and_takes_kernels(make):
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    layer = stirred(make(3, 5, dtype=torch.float64), x)
    with pytest.raises(ArgumentError, match="evaluation mode"):
        layer.kernel()
    frozen = layer.eval().freeze()
    assert type(frozen) is torch.nn.Conv2d
    torch.testing.assert_close(frozen(x), layer(x))
    conv = torch.nn.Conv2d(3, 5, layer.kernel_size, layer.stride, dtype=torch.float64)
    torch.testing.assert_close(layer.take(conv.weight, conv.bias)(x), conv(x))


def test_a_small_inception_next_goes_from_picture_to_features():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        nn.PatchStem2d(3, 16), nn.MetaNeXtBlock2d(16), nn.PatchMerge2d(16, 32), nn.MetaNeXtBlock2d(32),
        nn.PatchMerge2d(32, 64), nn.MetaNeXtBlock2d(64, expansion=3),
    )  # fmt: skip
    x = torch.randn(2, 3, 64, 64)
    assert net(x).shape == (2, 64, 4, 4)
    net(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
