"""Four dimensions: the laws of the dense convolution, the decomposed block, and sparse signals against dense ones."""

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional import conv, submanifold_conv
from faltung.nn.functional.submanifold import Sites, pair_count, sites_of


@pytest.fixture(autouse=True)
def _invariants():
    with torch.sparse.check_sparse_tensor_invariants():  # of our results too
        yield


def agree(got, wanted):
    torch.testing.assert_close(got, wanted, rtol=1e-11, atol=1e-11)


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


# -- the dense convolution ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", range(4))
def test_with_one_tap_along_an_axis_it_is_a_3d_convolution_of_every_slice(axis):
    torch.manual_seed(0)
    taps, pads = [3, 2, 3, 2], [1, 0, 2, 1]
    taps[axis], pads[axis] = 1, 0
    layer = nn.Conv4d(2, 3, tuple(taps), padding=tuple(pads), dtype=torch.float64)
    x = drawn(2, 2, 4, 5, 3, 4)
    flat = torch.nn.Conv3d(2, 3, [t for a, t in enumerate(taps) if a != axis]).double()
    flat.padding = tuple(p for a, p in enumerate(pads) if a != axis)
    with torch.no_grad():
        flat.weight.copy_(layer.weight.squeeze(2 + axis))
        flat.bias.copy_(layer.bias)
    y = layer(x)
    for n in range(x.shape[2 + axis]):
        agree(y.select(2 + axis, n), flat(x.select(2 + axis, n)))


def test_a_separable_kernel_is_a_composition():
    torch.manual_seed(0)
    factors = [drawn(3), drawn(2), drawn(3), drawn(2)]
    x = drawn(1, 1, 5, 4, 5, 4)
    whole = torch.einsum("a,b,c,d->abcd", *factors)[None, None]
    y = x
    for axis, factor in enumerate(factors):
        shape = [1] * 6
        shape[2 + axis] = -1
        y = conv(y, factor.reshape(shape))
    agree(conv(x, whole), y)


def test_the_bias_is_added_once_at_borders_too():
    layer = nn.Conv4d(2, 3, 3, padding=2, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.zero_()
    y = layer(drawn(1, 2, 3, 3, 3, 3))
    agree(y, layer.bias.reshape(1, 3, 1, 1, 1, 1).expand(1, 3, 5, 5, 5, 5))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 1},
        {"stride": 2, "padding": 2},
        {"dilation": 2, "padding": (2, 1, 2, 0)},
        {"stride": (1, 2, 1, 3), "dilation": (2, 1, 1, 1), "padding": 2, "groups": 2},
    ],
)
def test_it_matches_an_einsum_over_all_windows_of_a_5_4_signal(options):
    torch.manual_seed(0)
    groups, taps = options.get("groups", 1), (3, 2, 3, 2)
    layer = nn.Conv4d(2, 4, taps, dtype=torch.float64, **options)
    x = drawn(2, 2, 5, 5, 5, 5)
    windows = torch.nn.functional.pad(x, [p for p in reversed(layer.padding) for _ in range(2)])
    for axis, (t, s, d) in enumerate(zip(taps, layer.stride, layer.dilation, strict=True), 2):
        windows = windows.unfold(axis, d * (t - 1) + 1, s)[..., ::d]
    windows = windows.unflatten(1, (groups, -1))
    weight = layer.weight.unflatten(0, (groups, -1))
    wanted = torch.einsum("ngcpqrsabde,gocabde->ngopqrs", windows, weight).flatten(1, 2)
    agree(layer(x), wanted + layer.bias.reshape(-1, 1, 1, 1, 1))


def test_the_transpose_is_the_adjoint():
    torch.manual_seed(0)
    layer = nn.ConvTranspose4d(
        3, 2, (2, 3, 1, 2), stride=(1, 2, 1, 2), padding=(0, 1, 0, 1), bias=False, dtype=torch.float64
    )
    y = drawn(1, 3, 3, 2, 2, 3)
    x = drawn(1, 2, *layer(y).shape[2:])
    forward = conv(x, layer.weight, stride=layer.stride, padding=layer.padding)
    agree((layer(y) * x).sum(), (forward * y).sum())


# -- the block ----------------------------------------------------------------------------------------------------------


def test_weights_of_a_round_and_of_a_dense_kernel():
    block = nn.STDBlock(16, 16, 16)
    first, second = block.weight_counts()
    assert first == second == 8448
    assert sum(p.numel() for name, p in block.named_parameters() if "norms" not in name) == 2 * 8448
    assert nn.Conv4d(16, 16, 3, bias=False).parameter_count() == 20736


def stirred(block):
    torch.manual_seed(3)
    with torch.no_grad():
        for name, value in (*block.named_parameters(), *block.named_buffers()):
            if value.is_floating_point():
                value.add_(0.3 * torch.rand_like(value) if "var" in name else 0.3 * torch.randn_like(value))
    return block


def scattered(seed=0, sizes=(5, 4, 6, 3), channels=2, batch=2, share=0.25):
    """A sparse signal and the same as a dense one with its mask, channels first."""
    torch.manual_seed(seed)
    known = torch.rand(batch, *sizes) < share
    x = drawn(batch, *sizes, channels) * known.unsqueeze(-1)
    return x.to_sparse(5), x.movedim(-1, 1).contiguous(), known.unsqueeze(1)


def first(y):
    return y.to_dense().movedim(-1, 1)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("pool", [None, (2, 2, 2, 1), (2, 2, 1, 1)])
def test_a_sparse_block_is_the_dense_one_masked(pool, training):
    sparse, dense, known = scattered()
    block = stirred(nn.STDBlock(2, 4, 3, pool, sparse=True, dtype=torch.float64)).train(training)
    ours, theirs = block(sparse), block(dense)
    if pool is not None:
        ours, coarse = ours[1], ours[0]
        theirs, dense_coarse = theirs[1], theirs[0]
        assert coarse.is_coalesced()
        agree(first(coarse), dense_coarse)
        windows = torch.nn.functional.max_pool3d(known[:, 0].double().flatten(1, 1).movedim(-1, 1), pool[:3]).movedim(
            1, -1
        )
        assert torch.equal(coarse.indices().T, windows.nonzero())
    agree(first(ours), theirs)
    assert torch.equal(ours.indices(), sparse.coalesce().indices())
    assert (theirs * ~known == 0).all()


@pytest.mark.parametrize("training", [False, True])
def test_where_all_is_known_a_sparse_block_is_the_dense_one(training):
    x = drawn(2, 2, 3, 4, 3, 3)
    block = stirred(nn.STDBlock(2, 3, 4, dtype=torch.float64)).train(training)
    other = nn.STDBlock(2, 3, 4, sparse=True, dtype=torch.float64).train(training)
    other.load_state_dict(block.state_dict())
    wanted = block(x)
    agree(first(other(x.movedim(1, -1).to_sparse(5))), wanted)
    for ours, theirs in zip(other.buffers(), block.buffers(), strict=True):  # running statistics
        torch.testing.assert_close(ours, theirs)


def test_derivatives_on_sites_are_those_of_the_dense_block():
    sparse, dense, _ = scattered(share=0.4)
    block = stirred(nn.STDBlock(2, 3, 2, (2, 2, 2, 1), sparse=True, dtype=torch.float64))
    values = sparse.coalesce().values().requires_grad_()
    indices = sparse.coalesce().indices()
    dense.requires_grad_()
    pooled, whole = block(torch.sparse_coo_tensor(indices, values, sparse.shape))
    loss = pooled.values().square().sum() + whole.values().square().sum()
    ours = torch.autograd.grad(loss, [values, *block.parameters()])
    pooled, whole = block(dense)
    theirs = torch.autograd.grad(pooled.square().sum() + whole.square().sum(), [dense, *block.parameters()])
    picked = theirs[0].movedim(1, -1)[tuple(indices)]
    torch.testing.assert_close([picked, *theirs[1:]], list(ours))


def test_the_same_bits_on_sites_every_time():
    sparse, _, _ = scattered(sizes=(12, 12, 12, 4), channels=8)
    block = nn.STDBlock(8, 8, 8, sparse=True, dtype=torch.float64).eval()
    runs = [torch.autograd.grad(block(sparse).values().sum(), list(block.parameters())) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


# -- submanifold convolution --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ndim", "taps"), [(1, (5,)), (2, (3, 5)), (3, (3, 1, 3)), (4, (3, 3, 3, 1)), (4, (3, 3, 3, 3))]
)
def test_submanifold_convolution_is_the_dense_one_masked(ndim, taps):
    torch.manual_seed(1)
    sizes = (7, 5, 4, 3)[:ndim]
    known = torch.rand(2, *sizes) < 0.4
    x = drawn(2, *sizes, 3) * known.unsqueeze(-1)
    weight, bias = drawn(4, 3, *taps), drawn(4)
    y = submanifold_conv(x.to_sparse(ndim + 1), weight, bias)
    dense = conv(x.movedim(-1, 1), weight, bias, padding=tuple(t // 2 for t in taps)) * known.unsqueeze(1)
    agree(first(y), dense)
    assert y.is_coalesced()
    values, indices = y.values(), y.indices()
    assert torch.equal(known.nonzero(), indices.T)
    assert values.shape == (known.sum(), 4)


def test_entries_of_one_site_are_summed_first_and_order_does_not_matter():
    at = torch.tensor([[0, 0, 0, 0], [3, 1, 3, 2]])
    x = torch.sparse_coo_tensor(at, torch.tensor([[1.0], [2.0], [3.0], [5.0]]), (1, 6, 1))
    y = submanifold_conv(x, torch.tensor([[[1.0, 10.0, 100.0]]]))
    assert y.indices()[1].tolist() == [1, 2, 3]
    assert y.values().flatten().tolist() == [20 + 500, 2 + 50 + 400, 5 + 40]


def test_pairs_of_31_offsets_instead_of_81():
    every = torch.ones(1, 4, 4, 4, 4, 1).to_sparse(5)
    sites, _ = sites_of(every, 1, 4)
    offsets = [len(sites.pairs(taps)) for taps in ((3, 3, 3, 1), (1, 1, 1, 3), (1, 1, 1, 1), (3, 3, 3, 3))]
    assert sum(offsets[:3]) == 31
    assert offsets[3] == 81
    # Along an axis of n, three taps meet 3n - 2 pairs.
    assert pair_count(sites, (3, 3, 3, 1)) == 10**3 * 4
    assert pair_count(sites, (1, 1, 1, 3)) == 4**3 * 10


def test_no_site_at_all():
    empty = torch.sparse_coo_tensor(torch.zeros(5, 0, dtype=torch.int64), torch.zeros(0, 2), (1, 4, 4, 4, 4, 2))
    block = nn.STDBlock(2, 3, 4, (2, 2, 2, 1), sparse=True).eval()
    pooled, whole = block(empty)
    assert pooled.shape == (1, 2, 2, 2, 4, 4)
    assert pooled.indices().shape == (5, 0)
    assert whole.values().shape == (0, 4)


def test_sites_behind_the_last_window_are_left_out():
    sites = Sites(torch.tensor([[0, 0, 0, 1], [0, 3, 4, 3]]), 2, (5,))
    coarse, rows, tap = sites.coarser((2,))
    assert coarse.indices.tolist() == [[0, 0, 1], [0, 1, 1]]
    assert rows.tolist() == [0, 1, -1, 2]
    assert tap.tolist() == [0, 1, 0, 1]


def test_wrong_calls_are_refused():
    sparse, dense, _ = scattered()
    with pytest.raises(ArgumentError, match="sparse=True"):
        nn.STDBlock(2, 2, 2, dtype=torch.float64)(sparse)
    with pytest.raises(ArgumentError, match="channels"):
        nn.STDBlock(3, 2, 2, sparse=True, dtype=torch.float64)(sparse)
    with pytest.raises(DtypeError, match="sparse"):
        submanifold_conv(dense, drawn(1, 2, 3, 3, 3, 3))
    with pytest.raises(ArgumentError, match="odd"):
        submanifold_conv(sparse, drawn(1, 2, 2, 3, 3, 3))
    with pytest.raises(ArgumentError, match="dense axis"):
        submanifold_conv(dense.to_sparse(), drawn(1, 2, 3, 3, 3, 3))
    for wrong in ({"pool": 0}, {"pool": (2, 2)}, {"mid_channels": 0}):
        with pytest.raises(ArgumentError):
            nn.STDBlock(**{"in_channels": 2, "mid_channels": 2, "out_channels": 2, **wrong})
