"""Receptive fields: what one result depends on, against kernels and formulas."""

import pytest
import torch

from faltung import nn, tools
from faltung.errors import ArgumentError, DtypeError


def drawn(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_of_one_convolution_it_is_the_kernel():
    layer = torch.nn.Conv2d(3, 2, (3, 5), padding=(1, 2), dtype=torch.float64)
    field = tools.receptive_field(layer, drawn(4, 3, 9, 11))
    wanted = torch.zeros(9, 11, dtype=torch.float64)
    wanted[3:6, 3:8] = layer.weight.detach().sum(0).abs().sum(0)
    torch.testing.assert_close(field, wanted / wanted.max())
    corner = tools.receptive_field(layer, drawn(1, 3, 9, 11), at=(0, 0))
    assert corner.count_nonzero() == 2 * 3


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 3)])
def test_its_support_is_that_of_the_formula(stride, dilation):
    torch.manual_seed(0)
    stack, reach, step = [], 1, 1
    for taps in (3, 5, 3):
        stack.append(torch.nn.Conv1d(2, 2, taps, stride, dilation * (taps // 2), dilation, dtype=torch.float64))
        reach, step = reach + (taps - 1) * dilation * step, step * stride
    field = tools.receptive_field(torch.nn.Sequential(*stack), drawn(2, 2, 65))
    where = field.nonzero()[:, 0]
    assert where[-1] - where[0] + 1 == reach
    assert tools.extent(field, 1.0) >= reach


def test_deep_stacks_of_small_kernels_reach_less_far_than_one_large_kernel():
    torch.manual_seed(0)
    small = torch.nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(15)))
    large = nn.DilatedReparam2d(4, 31, norm=False)
    x = torch.randn(4, 4, 41, 41)
    fields = [tools.receptive_field(model, x) for model in (small, large)]
    assert [int((f > 0).any(0).sum()) for f in fields] == [31, 31]
    assert tools.extent(fields[0]) < 0.75 * tools.extent(fields[1])


def test_it_leaves_the_model_as_it_was_and_averages_over_samples():
    model = torch.nn.Sequential(torch.nn.Conv1d(1, 4, 3, padding=1), torch.nn.BatchNorm1d(4), torch.nn.ReLU()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.randn(16, 1, 9)
    field = tools.receptive_field(model, x)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    singles = torch.stack([torch.func.jacrev(lambda one: model.eval()(one)[:, :, 4].sum())(s[None])[0, 0] for s in x])
    mean = singles.abs().mean(0)
    torch.testing.assert_close(field, mean / mean.max())


def test_extents_count_from_the_middle():
    field = torch.zeros(9, 9)
    field[4, 4], field[4, 2:7] = 6, torch.tensor([1.0, 2.0, 6.0, 2.0, 1.0])
    assert [tools.extent(field, share) for share in (0.5, 0.8, 0.84, 1.0)] == [1, 3, 5, 5]


def test_wrong_calls_are_refused():
    conv = torch.nn.Conv1d(1, 1, 3)
    with pytest.raises(DtypeError, match="batch of signals"):
        tools.receptive_field(conv, [1, 2])
    with pytest.raises(DtypeError, match="wrap the model"):
        tools.receptive_field(torch.nn.Sequential(conv, torch.nn.Flatten()), torch.zeros(1, 1, 9))
    for at in ((9,), (1, 1), (-1,)):
        with pytest.raises(ArgumentError, match="one index"):
            tools.receptive_field(conv, torch.zeros(1, 1, 9), at)
    for share in (0, 1.1):
        with pytest.raises(ArgumentError, match="share above 0"):
            tools.extent(torch.ones(3), share)
