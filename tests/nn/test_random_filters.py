"""Frozen random filters: rank, span, what is learnt and what is not, and how the bank is kept."""

import copy
import pickle

import pytest
import torch
from torch import nn

from faltung.errors import ArgumentError
from faltung.nn import RandomFilterConv


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("expansion", [1, 4, 8, 9, 12, 25, 30])
def test_generic_filters_have_the_rank_of_their_number_or_of_their_taps(kernel_size, expansion):
    layer = RandomFilterConv(2, 2, 40, kernel_size, expansion, dtype=torch.float64)
    wanted = min(expansion, kernel_size**2)
    assert torch.linalg.matrix_rank(layer.bank.flatten(1)) == wanted
    kernels = layer.kernel().detach()
    assert torch.linalg.matrix_rank(kernels.flatten(2).flatten(0, 1)) == wanted  # the learnt kernels stay in that span


@pytest.mark.parametrize("bank", ["shared", "per_channel", "dense"])
@pytest.mark.parametrize("groups", [1, 2])
def test_enough_filters_reproduce_any_kernel(bank, groups):
    torch.manual_seed(0)
    layer = RandomFilterConv(2, 4, 6, 3, 9, bank=bank, groups=groups, dtype=torch.float64)
    kernel = torch.randn(6, 4 // groups, 3, 3, dtype=torch.float64)
    assert layer.fit(kernel).abs().max() < 1e-9
    torch.testing.assert_close(layer.effective_kernel(), kernel, rtol=0, atol=1e-9)
    plain = nn.Conv2d(4, 6, 3, groups=groups, dtype=torch.float64)
    plain.load_state_dict({"weight": kernel, "bias": layer.bias})
    x = torch.randn(2, 4, 6, 7, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain(x), rtol=0, atol=1e-8)


def test_too_few_filters_leave_the_part_outside_their_span():
    layer = RandomFilterConv(2, 1, 1, 3, 4, orthonormal=True, dtype=torch.float64)
    kernel = torch.randn(1, 1, 3, 3, dtype=torch.float64)
    left = layer.fit(kernel)
    span = layer.bank.flatten(1)
    torch.testing.assert_close(
        left.flatten(), kernel.flatten() - span.T @ (span @ kernel.flatten()), rtol=0, atol=1e-12
    )
    assert left.norm() > 0.1


@pytest.mark.parametrize("bank", ["shared", "per_channel"])
def test_with_orthonormal_filters_combinations_are_coefficients(bank):
    layer = RandomFilterConv(2, 3, 4, 3, 6, bank=bank, orthonormal=True, dtype=torch.float64)
    filters = layer.bank.flatten(-2).expand(3, 6, 9)
    torch.testing.assert_close(
        filters @ filters.mT, torch.eye(6, dtype=torch.float64).expand(3, 6, 6), rtol=0, atol=1e-12
    )
    coefficients = torch.einsum("oip,iep->oie", layer.kernel().flatten(2), filters)
    torch.testing.assert_close(layer.weight, coefficients, rtol=0, atol=1e-12)
    dense = RandomFilterConv(2, 3, 4, 3, 2, bank="dense", orthonormal=True, dtype=torch.float64)
    products = torch.einsum("oitu,mitu->om", dense.kernel(), dense.bank)
    torch.testing.assert_close(dense.weight, products, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bank", ["shared", "per_channel", "dense"])
@pytest.mark.parametrize("settings", [(2, 2, 2), (4, 64, 1), (4, 2, 9)])
def test_merged_it_is_one_convolution(bank, settings):
    inner, out, expansion = settings
    layer = RandomFilterConv(2, inner, out, 3, expansion, bank=bank, padding=1, stride=2, dtype=torch.float64)
    x = torch.randn(2, inner, 8, 7, dtype=torch.float64)
    want = layer.definition(x)
    assert type(layer.merge()) is nn.Conv2d
    for made in (layer, layer.merge()):
        torch.testing.assert_close(made(x), want, rtol=0, atol=1e-10)


def test_the_cheaper_way_is_taken():
    assert RandomFilterConv(2, 16, 64, 5, 2).in_two_steps()  # 16·2·25 + 64·16·2 against 64·16·25
    assert not RandomFilterConv(2, 16, 64, 3, 9).in_two_steps()
    assert not RandomFilterConv(2, 16, 64, 3, 9, bank="dense").in_two_steps()


@pytest.mark.parametrize("bank", ["shared", "per_channel", "dense"])
def test_only_the_combinations_are_learnt(bank):
    layer = RandomFilterConv(2, 3, 5, 3, 4, bank=bank, bias=False)
    assert sum(p.numel() for p in layer.parameters()) == layer.parameter_count() == 5 * 3 * 4
    before = layer.bank.clone()
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    layer(torch.randn(2, 3, 6, 6)).square().mean().backward()
    optimizer.step()
    assert layer.bank.grad is None
    assert not layer.bank.requires_grad
    assert torch.equal(layer.bank, before)


def test_a_stored_bank_travels_with_the_state_and_another_seed_does_not_matter():
    layer, other = RandomFilterConv(1, 2, 2, 5, 3, seed=1), RandomFilterConv(1, 2, 2, 5, 3, seed=2)
    assert not torch.equal(layer.bank, other.bank)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer.bank, other.bank)


def test_a_bank_that_is_not_stored_comes_back_from_the_seed():
    layer = RandomFilterConv(1, 2, 2, 5, 3, seed=4, stored=False)
    assert "bank" not in layer.state_dict()
    torch.manual_seed(99)  # torch's own generator has no say
    again = RandomFilterConv(1, 2, 2, 5, 3, seed=4, stored=False)
    again.load_state_dict(layer.state_dict())
    x = torch.randn(1, 2, 9)
    assert torch.equal(again(x), layer(x))
    for same in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(same.bank, layer.bank)
    state = torch.get_rng_state()
    RandomFilterConv(1, 2, 2, 5, 3, bias=False, device="meta")
    assert torch.equal(torch.get_rng_state(), state)  # drawing the bank leaves the generator alone


@pytest.mark.parametrize("stored", [True, False])
def test_unfrozen_the_bank_is_learnt_stored_and_rebuilt(stored):
    layer = RandomFilterConv(2, 2, 2, 3, 4, stored=stored)
    x, before = torch.randn(2, 2, 6, 6), layer.bank.clone()
    want = layer(x)
    layer.unfreeze()
    layer.unfreeze()  # twice is once
    assert torch.equal(layer(x), want)
    assert "bank" in layer.state_dict()
    assert "frozen=False" in repr(layer)
    assert sum(p.numel() for p in layer.parameters()) == layer.parameter_count()
    layer(x).square().sum().backward()
    torch.optim.SGD(layer.parameters(), 0.1).step()
    assert not torch.equal(layer.bank, before)
    again = RandomFilterConv(2, 2, 2, 3, 4, stored=stored, frozen=False)
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), layer(x))


def test_a_bank_of_one_s_own():
    edges = torch.tensor([[[1.0, 0, -1]] * 3, [[1.0, 1, 1], [0, 0, 0], [-1, -1, -1]]])
    layer = RandomFilterConv(2, 1, 3, 3, 2, bank=edges)
    assert torch.equal(layer.bank, edges)
    assert torch.linalg.matrix_rank(layer.kernel().flatten(2)[:, 0]) <= 2


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"bank": "none"}, "shared, per_channel, dense"), ({"expansion": 10, "orthonormal": True}, "at most 9"),
        ({"bank": torch.ones(2, 3)}, "filters of shape"), ({"expansion": 0}, "expansion"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(options, word):
    with pytest.raises(ArgumentError, match=word):
        RandomFilterConv(
            **{"ndim": 2, "in_channels": 2, "out_channels": 2, "kernel_size": 3, "expansion": 2, **options}
        )


def test_a_kernel_of_another_shape_cannot_be_fitted():
    with pytest.raises(ArgumentError, match="a kernel of shape"):
        RandomFilterConv(2, 2, 2, 3, 2).fit(torch.ones(2, 2, 3, 5))
