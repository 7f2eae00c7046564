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


@pytest.mark.parametrize(("group", "ndim"), [("p4m", 2), ("d1", 1), ("shift", 1), ("shift", 2)])
@pytest.mark.parametrize("frame", [False, True])
def test_shifts_and_frames(group, ndim, frame):
    """Averages over all shifts; one call for each input gives images that move along and answers that stay, bit for bit."""
    torch.manual_seed(0)
    sizes = (4,) * ndim
    layer = nn.Linear(4**ndim, 4**ndim).double()
    images = nn.Sequential(nn.Flatten(), layer, nn.Tanh(), nn.Unflatten(1, (1, *sizes)))
    calls = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    model = symmetrise(images, group, ndim, frame=frame)
    answers = symmetrise(nn.Sequential(nn.Flatten(), layer), group, ndim, invariant=True, frame=frame)
    x = torch.randn(3, 1, *sizes, dtype=torch.float64)
    wanted, said = model(x), answers(x)
    count = len(list(model.elements(x)))
    assert len(calls) == 2 * (1 if frame else count)
    for there, _ in model.elements(x):
        assert torch.allclose(model(there(x)), there(wanted), atol=1e-12)
        assert torch.allclose(answers(there(x)), said, atol=0 if frame else 1e-12)
    assert not torch.allclose(images(x), wanted, atol=1e-3)


def test_wrong_calls_are_refused():
    with pytest.raises(ArgumentError):
        symmetrise(nn.Identity(), "p4", frame=True)(torch.zeros(1, 1, 3, 4))
    with pytest.raises(DtypeError):
        symmetrise(torch.relu)
    for wrong in ("c8", "p6"):
        with pytest.raises(ArgumentError):
            symmetrise(nn.Identity(), wrong)
