"""ConvFirst and MBConv blocks against compositions of torch's layers."""

import pytest
import torch
from torch import nn

from faltung.errors import ArgumentError
from faltung.nn import ConvFirstBlock, MBConvBlock

ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU, "relu6": nn.ReLU6, "silu": nn.SiLU}


def copied(theirs, ours):
    """torch's modules with our numbers, in order."""
    theirs.double().load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    return theirs


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_blocks_are_the_composition_of_torchs_layers_and_so_are_their_gradients(activation, norm, training):
    torch.manual_seed(0)
    act, bias = ACTIVATIONS[activation], not norm
    first = ConvFirstBlock(2, 16, 5, group_width=8, expansion=3, activation=activation, norm=norm, dtype=torch.float64)
    parts = [nn.Conv2d(16, 16, 5, padding=2, groups=2, bias=bias), nn.Conv2d(16, 48, 1), act(), nn.Conv2d(48, 16, 1)]
    parts[1:1] = [nn.BatchNorm2d(16)] if norm else []
    bottle = MBConvBlock(2, 16, 5, expansion=3, activation=activation, norm=norm, dtype=torch.float64)
    convs = [
        nn.Conv2d(16, 48, 1, bias=bias),
        nn.Conv2d(48, 48, 5, padding=2, groups=48, bias=bias),
        nn.Conv2d(48, 16, 1, bias=bias),
    ]
    norms = [nn.BatchNorm2d(48), nn.BatchNorm2d(48), nn.BatchNorm2d(16)]
    order = {"mix": 1, "widen": 0, "narrow": 2}
    for ours, theirs in ((first, nn.Sequential(*parts)), (bottle, None)):
        if theirs is None:
            for name, n in order.items():
                copied(convs[n], getattr(bottle, name))
            steps = []
            for n, conv in enumerate(convs):
                steps += [conv, *([copied(norms[n], bottle.norms[n])] if norm else []), *([act()] if n < 2 else [])]
            theirs = nn.Sequential(*steps)
        else:
            copied(theirs, ours)
        ours.train(training), theirs.train(training)
        x = torch.randn(3, 16, 9, 7, dtype=torch.float64, requires_grad=True)
        z = x.detach().clone().requires_grad_()
        got, wanted = ours(x), z + theirs(z)
        torch.testing.assert_close(got, wanted)
        weights = torch.randn_like(got)
        (got * weights).sum().backward()
        (wanted * weights).sum().backward()
        torch.testing.assert_close(x.grad, z.grad)
        for p, q in zip(ours.mix.parameters(), (theirs[0] if ours is first else convs[1]).parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad)
        torch.testing.assert_close(ours.eval().definition(x), ours(x))


def test_refusals():
    for wrong in ({"kernel_size": 4}, {"activation": "tanh"}, {"norm": 1}, {"expansion": 0}, {"group_width": 3}):
        with pytest.raises(ArgumentError):
            ConvFirstBlock(2, 8, **wrong)
