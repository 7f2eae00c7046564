"""State spaces: a recurrence, a filter and a differential equation that say the same; published numbers of S4's kin."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from faltung.errors import ArgumentError
from faltung.nn import param_groups
from faltung.nn.sequence import (
    LOCAL,
    DenseStateSpace,
    DiagonalStateSpace,
    LowRankStateSpace,
    MovingAverageConv1d,
    SequenceBlock,
    SequenceConv,
    StateSpaceConv,
    StateSpaceConv1d,
    correction,
    discretise,
    matrices,
    state_space,
)
from faltung.nn.sequence.dense import sampled
from faltung.nn.sequence.discretisation import discrete_modes
from faltung.nn.sequence.hippo import normal_pairs

F64 = torch.float64
METHODS = ["diag", "dplr", "krylov", "dense"]


def layer(*arguments, **options):
    torch.manual_seed(0)
    return StateSpaceConv1d(*arguments, **{"dtype": F64, **options})


def stepped(made, x, rate=1.0):
    state, results = made.initial_state(len(x), rate), []
    for now in x.unbind(-1):
        y, state = made.step(now, state)
        results.append(y)
    return torch.stack(results, -1)


def off(got, wanted):
    return ((got.double() - wanted.double()).abs().max() / wanted.double().abs().max()).item()


# Published numbers


def test_legs_of_four_states():
    A, B = matrices("legs", 4)
    wanted = [[-1, 0, 0, 0], [-1.732051, -2, 0, 0], [-2.236068, -3.872983, -3, 0], [-2.645751, -4.582576, -5.91608, -4]]
    assert torch.allclose(A, torch.tensor(wanted, dtype=F64), atol=1e-6)
    assert torch.linalg.eigvals(A).real.sort().values.tolist() == pytest.approx([-4, -3, -2, -1])
    corrected = A + correction("legs", 4).T @ correction("legs", 4)
    assert torch.allclose((corrected + corrected.T) / 2, -torch.eye(4, dtype=F64) / 2, atol=1e-14)
    step, push = discretise(A, B, 0.1)
    taps = sampled(step[None], push[None], torch.ones(1, 1, 4, dtype=F64), 5)[0, 0]
    assert taps.tolist() == pytest.approx([0.5470522, 0.22343937, 0.06399393, -0.00459942, -0.02562155], abs=1e-8)


def s4d(disc="zoh"):
    made = DiagonalStateSpace(1, state=64, disc=disc, dtype=F64)
    nn.init.constant_(made.log_dt, math.log(0.01))
    nn.init.ones_(made.re)
    nn.init.zeros_(made.im)
    return made


def test_s4d_lin_of_32_modes():
    made = s4d()
    with torch.no_grad():
        taps = made.filters(16_384)[0, 0]
    assert taps[:5].tolist() == pytest.approx([0.60524912, 0.42617464, 0.16792117, -0.04084098, -0.11851695], abs=1e-8)
    A = torch.complex(-made.log_decay.exp(), made.frequency)
    assert taps.sum().item() == pytest.approx(4.16073717, abs=1e-8)
    assert taps.sum().item() == pytest.approx((2 * (-1 / A).sum().real).item(), abs=1e-6)


def by_hand(made, length, rate=1.0):
    """Filters by their formula: `2 Re Σ C_n B̄_n Ā_nˡ` with the zero-order hold, tap by tap."""
    A = torch.complex(-made.log_decay.exp(), made.frequency)
    dt = made.log_dt.exp()[:, None] * rate
    C, step = torch.complex(made.re, made.im), torch.exp(dt * A)
    push = ((step - 1) / A)[:, None]
    return torch.stack([2 * (C * push * (step**lag)[:, None]).sum(-1).real for lag in range(length)], -1)


@pytest.mark.parametrize("state", [2, 10, 64])
@pytest.mark.parametrize("init", ["s4d-lin", "s4d-inv", "s4d-legs"])
@torch.no_grad()
def test_first_eigenvalues_and_the_filters_they_make(init, state):
    torch.manual_seed(0)
    made = DiagonalStateSpace(3, state, heads=2, init=init, dtype=F64)
    n = np.arange(state // 2)
    wanted = {"s4d-lin": math.pi * n, "s4d-inv": (state / (2 * n + 1) - 1) * state / math.pi}.get(init)
    if init == "s4d-legs":  # of −½ · 1 and a skew-symmetric matrix, by the matrix as it is published
        root = np.sqrt(2 * np.arange(state) + 1)
        skew = -0.5 * np.tril(np.outer(root, root), -1)
        found = np.linalg.eigvals(skew - skew.T)
        assert np.abs(found.real).max() < 1e-9
        wanted = np.sort(found.imag)[state // 2 :]
    for row in made.frequency:
        np.testing.assert_allclose(row, wanted, rtol=1e-9, atol=1e-9)
    assert torch.allclose(made.log_decay.exp(), torch.tensor(0.5, dtype=F64))
    for rate in (1.0, 2.5):
        assert off(made.filters(100, rate), by_hand(made, 100, rate)) < 1e-11


# One layer, three ways to run it


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("dtype", "allowed"), [(F64, 1e-9), (torch.float32, 1e-4)], ids=["float64", "float32"])
@torch.no_grad()
def test_recurrence_is_convolution(method, dtype, allowed):
    made, x = layer(3, state=16, heads=2, method=method, dtype=dtype), torch.randn(2, 3, 512, dtype=dtype)
    y = stepped(made, x)
    assert y.dtype == dtype
    assert off(y, made(x)) < allowed


@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_pieces_are_the_whole(method):
    made, x = layer(3, state=8, heads=2, method=method), torch.randn(2, 3, 100, dtype=F64)
    state, results = made.initial_state(2, 1.5), []
    for first, last in ((0, 1), (1, 4), (4, 37), (37, 37 + 16), (53, 100)):
        y, state = made.chunk(x[..., first:last], state)
        results.append(y)
    assert off(torch.cat(results, -1), made(x, 1.5)) < 1e-11
    assert off(stepped(made, x, 1.5), made(x, 1.5)) < 1e-11
    one, state_after = made.step(x[..., 0], state)
    assert one.shape == (2, 6)
    assert state_after.memory.shape == state.memory.shape


@torch.no_grad()
def test_directions():
    x = torch.randn(2, 3, 40, dtype=F64)
    causal, ahead = (layer(3, state=8, direction=word, skip=False) for word in ("causal", "anticausal"))
    assert off(ahead(x), causal(x.flip(-1)).flip(-1)) < 1e-12
    both = layer(3, state=8, heads=2, direction="bidirectional", skip=False)
    taps = both.constructor.filters(40)
    back, forth = taps[:, :2], taps[:, 2:]
    wanted = x.new_zeros(2, 3, 2, 40)
    for t in range(40):
        for lag in range(40):
            if t - lag >= 0:
                wanted[..., t] += back[..., lag] * x[:, :, None, t - lag]
            if t + lag < 40:
                wanted[..., t] += forth[..., lag] * x[:, :, None, t + lag]
    assert off(both(x), wanted.flatten(1, 2)) < 1e-12
    with pytest.raises(ArgumentError, match="causal"):
        both.initial_state(1)


def test_spectra_keep_causality_within_rounding_and_local_methods_bit_for_bit():
    x = torch.randn(1, 2, 4096, dtype=F64)
    later = x.clone()
    later[..., 3000:] += 1
    for policy, allowed in ((None, 1e-12), (LOCAL, 0.0)):
        made = layer(2, state=8, policy=policy)
        with torch.no_grad():
            a, b = made(x), made(later)
        assert ((a - b)[..., :3000].abs().max() / a.abs().max()).item() <= allowed
        assert (a - b)[..., 3000:].abs().max() > 0.1
    assert "causal" in layer(2, policy=LOCAL).claims
    assert "causal" not in layer(2).claims


# Every method is the same map


@pytest.mark.parametrize("disc", ["zoh", "bilinear", "backward", "euler", 0.3])
@torch.no_grad()
def test_diagonal_is_dense_on_a_diagonal_matrix(disc):
    torch.manual_seed(0)
    made = DiagonalStateSpace(3, state=8, heads=2, disc=disc, dt=(0.001, 0.01), dtype=F64)
    decay, turn = -made.log_decay[0].exp().diag(), made.frequency[0].diag()
    A = torch.cat([torch.cat([decay, -turn], 1), torch.cat([turn, decay], 1)])
    B = 2**0.5 * torch.cat([torch.ones(4), torch.zeros(4)]).double()
    C = 2**0.5 * torch.cat([made.re, -made.im], -1)
    step, push = discretise(A, B, made.log_dt.exp() * 2, disc)
    assert off(made.filters(300, 2.0), sampled(step, push, C, 300)) < 1e-11


@pytest.mark.parametrize("disc", ["bilinear", "backward", 0.3])
@torch.no_grad()
def test_real_modes_may_change_sign(disc):
    """dt·|A| above 2: the bilinear step is negative, and its powers alternate."""
    made = DiagonalStateSpace(2, state=9, init="s4d-real", disc=disc, dt=(0.3, 0.5), dtype=F64)
    step, push = discretise(
        -made.log_decay[0].exp().diag(), torch.ones(9, dtype=F64), made.log_dt.exp(), disc
    )  # fmt: skip
    assert off(made.filters(50), sampled(step, push, made.re, 50)) < 1e-11
    if disc != "backward":
        assert (torch.linalg.eigvals(step).real < 0).any()


@pytest.mark.parametrize("length", [1, 2, 33, 512])
@torch.no_grad()
def test_low_rank_is_dense_on_legs(length):
    torch.manual_seed(0)
    ours, judge = (kind(3, state=16, heads=2, dtype=F64) for kind in (LowRankStateSpace, DenseStateSpace))
    judge.log_dt.copy_(ours.log_dt)
    turn = normal_pairs("legs", 16)[1]
    C = judge.C.to(turn.dtype) @ turn.mH
    ours.C_re.copy_(C.real)
    ours.C_im.copy_(C.imag)
    assert off(ours.filters(length, 1.5), judge.filters(length, 1.5)) < 1e-9
    assert off(ours.definition_filters(length), judge.definition_filters(length)) < 1e-9


@pytest.mark.parametrize("init", ["legs", "legt", "lagt", "fourier"])
@torch.no_grad()
def test_low_rank_of_any_rank_and_length(init):
    """Frequencies in blocks, too: the sum of fractions of one block is not held longer than needed."""
    torch.manual_seed(0)
    made = LowRankStateSpace(2, state=8, heads=2, init=init, dtype=F64)
    assert len(made.P_re) == (2 if init == "legt" else 1)
    for length in (7, 64):
        assert off(made.filters(length), made.definition_filters(length)) < 1e-9


def test_blocks_of_frequencies_change_nothing(monkeypatch):
    from faltung.nn.sequence import low_rank as module

    torch.manual_seed(0)
    made = LowRankStateSpace(2, state=8, dtype=F64)
    wanted = made.filters(100)
    slopes = torch.autograd.grad(wanted.square().sum(), list(made.parameters()))
    monkeypatch.setattr(module, "AT_ONCE", 100)
    assert off(made.filters(100), wanted) < 1e-13
    for a, b in zip(
        torch.autograd.grad(made.filters(100).square().sum(), list(made.parameters())), slopes, strict=True
    ):
        assert off(a, b) < 1e-10


@pytest.mark.parametrize("init", ["legs", "legt", "lmu", "lagt", "fourier"])
@torch.no_grad()
def test_krylov_is_dense_is_step_by_step(init):
    torch.manual_seed(0)
    made = DenseStateSpace(2, state=8, heads=2, init=init, dtype=F64)
    other = DenseStateSpace(2, state=8, heads=2, init=init, method="dense", dtype=F64)
    other.load_state_dict(made.state_dict())
    for length in (1, 5, 64, 100):
        assert off(made.filters(length), made.definition_filters(length)) < 1e-11
        assert off(other.filters(length), made.definition_filters(length)) < 1e-11


# Discretisation


def test_backward_euler_of_one_state_is_a_gate():
    """(1 − σ(z)) x + σ(z) u, a gated step, is backward Euler of x' = −x + u with dt = eᶻ."""
    z = torch.linspace(-4, 3, 9, dtype=F64)
    one = torch.ones(9, 1, dtype=F64)
    step, push = discretise(-one[..., None], one, z.exp(), "backward")
    assert torch.allclose(step.flatten(), 1 - z.sigmoid())
    assert torch.allclose(push.flatten(), z.sigmoid())
    assert torch.allclose(step.flatten(), 1 / (1 + z.exp()))
    for disc, (kept, heard) in {
        "euler": (1 - z.exp(), z.exp()),
        "bilinear": ((1 - z.exp() / 2) / (1 + z.exp() / 2), z.exp() / (1 + z.exp() / 2)),
        "zoh": ((-z.exp()).exp(), 1 - (-z.exp()).exp()),
    }.items():
        step, push = discretise(-one[..., None], one, z.exp(), disc)
        assert torch.allclose(step.flatten(), kept)
        assert torch.allclose(push.flatten(), heard)


@pytest.mark.parametrize("disc", ["zoh", "bilinear", "backward"])
def test_steps_stay_inside_the_unit_disc(disc):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 200, generator=generator, dtype=F64) * 10
    (size, _), _ = discrete_modes((-z[0].abs() - 1e-6, z[1]), disc)
    assert (size < 0).all()
    A = torch.randn(50, 6, 6, generator=generator, dtype=F64)
    A = A - (torch.linalg.eigvals(A).real.amax(-1)[:, None, None] + 0.01) * torch.eye(6, dtype=F64)
    step, _ = discretise(A, torch.ones(6, dtype=F64), 0.7, disc)
    assert (torch.linalg.eigvals(step).abs() < 1).all()


def test_euler_leaves_the_unit_disc():
    (size, _), _ = discrete_modes((torch.tensor([-0.1], dtype=F64), torch.tensor([2.0], dtype=F64)), "euler")
    assert (size > 0).all()


@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_twice_the_rate_is_every_second_sample(method):
    """k at rate 2 is 2·k[0::2] up to O(dt²): a quarter of the difference for half the step."""
    apart = []
    for dt in (2e-3, 1e-3):
        torch.manual_seed(0)
        made = state_space(2, state=8, method=method, dt=(dt, dt), dtype=F64)
        apart.append((made.filters(50, 2.0) - 2 * made.filters(100)[..., ::2]).abs()[..., :10].max().item())
    assert 3 < apart[0] / apart[1] < 5


# Parameters


@pytest.mark.parametrize("method", METHODS)
def test_parameters_belong_to_no_length(method):
    made = layer(2, state=8, method=method)
    before = copy.deepcopy(made.state_dict())
    with torch.no_grad():
        short, long = made.constructor.filters(30), made.constructor.filters(70)
        assert off(long[..., :30], short) < 1e-9
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert not list(made.buffers())
    assert not any(value.is_complex() for value in before.values())


def test_fixed_dynamics_learn_weights_only():
    for method in METHODS:
        made = layer(2, state=8, method=method, fixed_dynamics=True)
        names = {name.partition(".")[2] or name for name, _ in made.named_parameters()}
        assert names <= {"re", "im", "C", "C_re", "C_im", "skip"}
        assert made.parameter_count() == sum(p.numel() for p in made.parameters())


def test_groups_for_optimizers():
    model = nn.Sequential(layer(2, state=4), nn.Linear(3, 3), layer(2, state=4, method="krylov"))
    groups = param_groups(model)
    assert [group.get("lr") for group in groups] == [None, 1e-3, 1e-4]
    assert sorted(id(p) for group in groups for p in group["params"]) == sorted(id(p) for p in model.parameters())
    optimizer = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1)
    assert [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [(0.01, 0.1), (1e-3, 0.0), (1e-4, 0.0)]
    names = ("log_dt", "log_decay", "frequency")
    slow = {id(p) for name, p in model.named_parameters() if name.rpartition(".")[2] in names}
    assert {id(p) for p in groups[1]["params"]} == slow
    assert [group["lr"] for group in param_groups(model, at_most=5e-5)[1:]] == [5e-5]
    assert len(param_groups(nn.Linear(2, 2))) == 1
    with pytest.raises(ArgumentError, match="at_most"):
        param_groups(model, at_most=0)


def test_any_filter_that_is_no_longer_than_the_state_is_there():
    """N modes on the unit circle and the transform of the taps."""
    from faltung.nn.functional import vandermonde

    taps = torch.randn(12, dtype=F64)
    spectrum = torch.fft.fft(taps) / 12
    turn = 2 * torch.pi * torch.arange(12, dtype=F64) / 12
    got = vandermonde(
        (spectrum.real[None, None], spectrum.imag[None, None]), (torch.zeros(1, 12, dtype=F64), turn[None]), 12
    )
    assert off(got[0, 0], taps) < 1e-13


# Wrong calls


def test_wrong_settings_get_a_sentence():
    for options, word in (
        ({"method": "conv"}, "method"),
        ({"init": "legs"}, "init"),
        ({"state": 7}, "state"),
        ({"disc": "tustin"}, "disc"),
        ({"disc": 1.5}, "disc"),
        ({"dt": (0.1, 0.01)}, "dt"),
        ({"direction": "both"}, "direction"),
        ({"heads": 0}, "heads"),
        ({"method": "dplr", "init": "lmu"}, "init"),
        ({"method": "dplr", "disc": "zoh"}, "disc"),
        ({"method": "krylov", "init": "s4d-lin"}, "init"),
    ):
        with pytest.raises(ArgumentError, match=word):
            StateSpaceConv1d(2, **options)
    made = layer(2)
    for rate in (0, -1.0, True, "2", float("nan")):
        with pytest.raises(ArgumentError, match="rate"):
            made(torch.zeros(1, 2, 5, dtype=F64), rate)
    for wrong in (made.initial_state(3), None):
        with pytest.raises(ArgumentError, match="state of 1 signals"):
            made.step(torch.zeros(1, 2, dtype=F64), wrong)
        with pytest.raises(ArgumentError, match="state of 1 signals"):
            made.chunk(torch.zeros(1, 2, 5, dtype=F64), wrong)
    empty, _ = made.chunk(torch.zeros(1, 2, 0, dtype=F64), made.initial_state(1))
    assert empty.shape == (1, 2, 0)
    with pytest.raises(ArgumentError, match="FilterConstructor"):
        SequenceConv(nn.Linear(2, 2))
    with pytest.raises(ArgumentError, match="even number of heads"):
        SequenceConv(DiagonalStateSpace(2), "bidirectional")
    with pytest.raises(ArgumentError, match="cut off"):
        SequenceConv(DiagonalStateSpace(2), length=10).initial_state(1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch on its own internals, and that complex numbers are not fused
@pytest.mark.parametrize(
    "make",
    [
        *(lambda method=method: layer(2, state=8, method=method, dtype=torch.float32) for method in METHODS),
        lambda: layer(2, state=8, method="dplr", init="legt", dtype=torch.float32),
        lambda: MovingAverageConv1d(2, state=4),
        *(
            lambda disc=disc: SequenceConv(DiagonalStateSpace(2, state=8, disc=disc))
            for disc in ("bilinear", "backward", 0.3)
        ),
        *(lambda disc=disc: SequenceConv(DenseStateSpace(2, state=8, disc=disc)) for disc in ("zoh", "backward")),
    ],
    ids=[
        *METHODS,
        "dplr of rank 2",
        "damped averages",
        "diag bilinear",
        "diag backward",
        "diag 0.3",
        "dense zoh",
        "dense backward",
    ],
)
def test_compiled_code(make):
    """The whole layer is one graph for torch's own compiler, and trains there."""
    torch._dynamo.reset()  # graphs of other layers of the class count against its limit
    made, x = make(), torch.randn(2, 2, 50)
    compiled = torch.compile(made, fullgraph=True)
    slopes = [torch.autograd.grad(call(x).square().sum(), list(made.parameters())) for call in (compiled, made)]
    assert off(compiled(x), made(x)) < 1e-5
    for a, b in zip(*slopes, strict=True):
        assert off(a, b) < 1e-4


# Around it


def test_a_block_is_its_parts_and_a_stream():
    torch.manual_seed(0)
    made = SequenceBlock(StateSpaceConv1d(3, state=8, heads=2, dtype=F64), width=5).eval()
    x = torch.randn(2, 3, 40, dtype=F64)
    mixed = torch.einsum("oi,bit->bot", made.weight[..., 0], nn.functional.gelu(made.conv(x))) + made.bias[:, None]
    wanted = mixed[:, :5] * mixed[:, 5:].sigmoid()
    assert off(made(x), wanted) < 1e-12
    state, pieces = made.initial_state(2), []
    for piece in x.split(15, -1):
        y, state = made.chunk(piece, state)
        pieces.append(y)
    assert off(torch.cat(pieces, -1), wanted) < 1e-11
    y, _ = made.step(x[..., 0], made.initial_state(2))
    assert off(y, wanted[..., 0]) < 1e-11
    assert SequenceBlock(StateSpaceConv1d(3, state=8, heads=2))(x.float()).shape == x.shape
    for wrong in ({"dropout": 1}, {"width": 0}):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            SequenceBlock(StateSpaceConv1d(3), **wrong)
    with pytest.raises(ArgumentError, match="SequenceConv"):
        SequenceBlock(nn.Linear(2, 2))


@torch.no_grad()
def test_axes_one_after_the_other():
    """An impulse gives the outer product of the axes' filters; each axis at its own rate; another image size, the same layer."""
    torch.manual_seed(0)
    made = StateSpaceConv(2, 3, state=8, direction="causal", skip=False, dtype=F64)
    x = torch.zeros(1, 3, 6, 9, dtype=F64)
    x[..., 0, 0] = 1
    rows, columns = (axis.constructor for axis in made.axes)
    wanted = rows.filters(6, 2.0)[:, 0, :, None] * columns.filters(9)[:, 0, None]
    assert off(made(x, (2.0, 1.0))[0], wanted) < 1e-12
    assert made(torch.zeros(1, 3, 4, 11, dtype=F64)).shape == (1, 3, 4, 11)
    for options, word in (
        ({"direction": ("causal",)}, "direction"),
        ({"skip": 1}, "skip"),
        ({"method": "no"}, "method"),
    ):
        with pytest.raises(ArgumentError, match=word):
            StateSpaceConv(2, 3, **options)
    with pytest.raises(ArgumentError, match="rate"):
        made(x, (1.0, 1.0, 1.0))
