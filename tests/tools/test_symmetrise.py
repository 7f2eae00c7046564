"""The mean over a group commutes with it, whatever the model; the model itself does not."""

import pytest
import torch
from torch import nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn.symmetry import act, grid_group
from faltung.tools import symmetrise


@pytest.mark.parametrize(("group", "ndim"), [("p4m", 2), ("d2", 2), ("d1", 1), ("o", 3)])
def test_any_model_becomes_equivariant(group, ndim):
    torch.manual_seed(0)
    conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[ndim]
    inner = nn.Sequential(conv(1, 3, 3, padding=1), nn.Tanh(), conv(3, 2, 3)).double()
    model, acting = symmetrise(inner, group, ndim), grid_group(group, ndim)
    x = torch.randn(2, 1, *(5, 6, 7)[:ndim], dtype=torch.float64)
    gaps = []
    for g in range(1, acting.order):
        assert torch.allclose(model(act(x, acting, g)), act(model(x), acting, g), atol=1e-12)
        gaps.append(float((inner(act(x, acting, g)) - act(inner(x), acting, g)).detach().abs().max()))
    assert max(gaps) > 1e-2
    assert torch.allclose(symmetrise(model, group, ndim)(x), model(x), atol=1e-12)  # a mean of what is symmetric


def test_answers_become_invariant_and_train():
    inner = nn.Sequential(nn.Flatten(), nn.Linear(25, 3)).double()
    model, x = symmetrise(inner, "p4m", invariant=True), torch.randn(2, 1, 5, 5, dtype=torch.float64)
    for turned in (torch.rot90(x, 1, (2, 3)), x.flip(-1), x.transpose(2, 3)):
        assert torch.allclose(model(turned), model(x), atol=1e-12)
    model(x).sum().backward()
    assert inner[1].weight.grad.abs().max() > 0


def test_wrong_calls_are_refused():
    with pytest.raises(DtypeError):
        symmetrise(torch.relu)
    for wrong in ("c8", "p6"):
        with pytest.raises(ArgumentError):
            symmetrise(nn.Identity(), wrong)
