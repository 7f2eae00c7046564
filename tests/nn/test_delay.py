"""Learnt delays: shifts that are exact, results that wait for nothing later, and delays that find the lag."""

import copy
import itertools

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.nn.functional.delayed import by_conv, sum_delayed
from faltung.nn.positions import Delay1d

F64 = torch.float64
PER = ["synapse", "axon", "dendrite"]


def layer(*arguments, **options):
    torch.manual_seed(0)
    return Delay1d(*arguments, dtype=F64, **options)


def pairs(made):
    """The whole delay of every pair (out, in)."""
    late = made.delays().round().long()
    late = late[:, None] if made.per == "dendrite" else late
    return late.expand(made.out_features, made.in_features)


def shifted(x, by, length):
    """x (batch, n) later by so many steps, zeros before and behind."""
    y = x.new_zeros(len(x), length)
    for t in range(length):
        if 0 <= t - by < x.shape[1]:
            y[:, t] = x[:, t - by]
    return y


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("interpolation", ["bilinear", "gauss"])
def test_whole_delays_shift_the_input(per, causal, interpolation):
    made = layer(1, 1, 9, per=per, causal=causal, interpolation=interpolation)
    torch.nn.init.ones_(made.weight)
    x = torch.randn(2, 1, 20, dtype=F64)
    for position in range(-4, 5):
        made.positions.data.fill_(position)
        ours = made if interpolation == "bilinear" else copy.deepcopy(made).discretize()
        (late,) = made.delays().flatten().tolist()
        assert late == (4 if causal else 0) - position
        assert torch.equal(ours(x)[:, 0], shifted(x[:, 0], int(late), 24))


def test_lengths():
    x = torch.zeros(1, 3, 100)
    for max_delay, extend, wanted in ((25, True, 112), (24, True, 112), (25, False, 100), (1, True, 100)):
        made = Delay1d(3, 2, max_delay, extend=extend)
        assert made.pads[0] == made.taps - 1
        for ours in (made, copy.deepcopy(made).discretize()):
            assert ours(x).shape == made.shapes(x.shape) == (1, 2, wanted)
    assert Delay1d(3, 2, 25).pads == (24, 12)


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("taps", [5, 129])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_later_inputs_change_nothing_earlier(per, taps, dtype):
    """Bit for bit, even infinities and long windows, for which other convolutions are faster."""
    torch.manual_seed(0)
    for made in (Delay1d(6, 5, taps, per=per, dtype=dtype), Delay1d(6, 5, taps, per=per, dtype=dtype).discretize()):
        x = torch.randn(2, 6, 300, dtype=dtype)
        wanted = made(x)
        for t0 in (0, 1, 77, 298):
            for value in (1e6, float("inf")):
                later = x.clone()
                later[..., t0 + 1 :] += value
                assert torch.equal(made(later)[..., : t0 + 1], wanted[..., : t0 + 1])


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [1, 6, 50])
def test_discrete_layers_are_shifts_and_sums_bit_for_bit(per, causal, length):
    made = layer(7, 4, 13, per=per, causal=causal).discretize()
    x = torch.randn(3, 7, length, dtype=F64)
    wanted, late = torch.zeros(3, 4, length + 6, dtype=F64), pairs(made)
    for o in range(4):
        for i in range(7):
            wanted[:, o] += made.weight[o, i].detach() * shifted(x[:, i], int(late[o, i]), length + 6)
    assert torch.equal(made(x), wanted)
    torch.testing.assert_close(made.definition(x), made(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("per", PER)
def test_one_step_after_the_other(per):
    made = layer(5, 3, 8, per=per, extend=False).discretize()
    x = torch.randn(2, 5, 40, dtype=F64)
    wanted, past = made(x), None
    for t in range(40):
        y, past = made.step(x[..., t], past)
        torch.testing.assert_close(y, wanted[..., t], rtol=0, atol=1e-12)
    with pytest.raises(ArgumentError, match="discretize"):
        layer(5, 3, 8).step(x[..., 0])


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("lag", [0, 3, 17, 24])
def test_a_delay_finds_an_unknown_lag(per, lag):
    """One delay, its weight given, learnt from a signal and its echo while the profile narrows."""
    generator = torch.Generator().manual_seed(lag)
    x = torch.randn(8, 1, 120, generator=generator, dtype=F64)
    made = layer(1, 1, 25, per=per)
    torch.nn.init.ones_(made.weight)
    made.positions.data.zero_()
    target = torch.stack([shifted(row, lag, 132) for row in x])
    optimizer = torch.optim.Adam([made.positions], lr=0.4)
    for epoch in range(160):
        made.anneal(epoch, 480)
        optimizer.zero_grad()
        loss = (made(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        made.clamp_()
        if not epoch:
            first = made.delays().item()
    assert (first - 12) * (lag - 12) > 0  # the first step went the right way
    assert abs(made.delays().item() - lag) <= 0.5


def test_widths_are_annealed():
    made = Delay1d(2, 2, 25)
    assert made.width == 12
    widths = [made.anneal(epoch, 40).width.item() for epoch in range(13)]
    ratios = [b / a for a, b in itertools.pairwise(widths)]
    assert ratios[:10] == pytest.approx([(0.23 / 12) ** 0.1] * 10, rel=1e-5)
    assert widths[10:] == pytest.approx([0.23] * 3)
    assert not made.width.requires_grad
    assert made.anneal(150 / 4).width.item() == pytest.approx(0.23)
    with pytest.raises(ArgumentError, match="anneal"):
        made.anneal(-1)


def test_annealed_layers_are_near_their_discrete_ones():
    """While the profile is wide, rounding is another layer; at the last width whole delays lose a fifth to their neighbours."""
    made = layer(4, 4, 15, interpolation="gauss")
    made.positions.data.round_()
    x = torch.randn(2, 4, 60, dtype=F64)
    wanted = copy.deepcopy(made).discretize()(x)
    wide, narrow = (((copy.deepcopy(made).anneal(e, 40)(x) - wanted).norm() / wanted.norm()).item() for e in (0, 10))
    assert narrow < 0.35 < 0.8 < wide


def test_being_discrete_is_kept():
    made = layer(3, 2, 7).discretize()
    again = layer(3, 2, 7)
    again.load_state_dict(made.state_dict())
    x = torch.randn(1, 3, 12, dtype=F64)
    assert again.discrete
    assert torch.equal(again(x), made(x))
    again.load_state_dict(layer(3, 2, 7).state_dict())
    assert not again.discrete
    assert made.float()(x.float()).dtype == torch.float32
    assert made.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


def test_discrete_layers_in_graphs_and_derivatives():
    made = layer(3, 2, 7).discretize()
    x = torch.randn(2, 3, 12, dtype=F64, requires_grad=True)
    start, reach = made._starts() - 6, [-6, 0]
    torch.autograd.gradcheck(lambda x, w: sum_delayed(x, w, start, 15, reach), (x, made.weight))
    torch.autograd.gradgradcheck(lambda x, w: sum_delayed(x, w, start, 15, reach), (x, made.weight))
    torch.testing.assert_close(by_conv(x, made.weight, start, 15, reach), made(x), rtol=0, atol=1e-12)
    torch._dynamo.reset()
    compiled = torch.compile(made, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), made(x))
    compiled(x).square().sum().backward()
    assert x.grad.abs().sum() > 0
    assert made.positions.grad is None  # whole delays have no derivative
    assert copy.deepcopy(made).to("meta")(x.to("meta")).shape == (2, 2, 15)


def test_delayed_sums_as_a_function():
    x, weight, late = torch.randn(2, 3, 9), torch.randn(4, 3), torch.randint(-4, 12, (4, 3))
    wanted = torch.stack(
        [sum(weight[o, i] * shifted(x[:, i], int(late[o, i]), 9) for i in range(3)) for o in range(4)], 1
    )
    assert torch.equal(functional.delayed(x, weight, late), wanted)
    assert functional.delayed(x, weight, late, 30).shape == (2, 4, 30)
    assert functional.delayed(x[:0], weight, late).shape == (0, 4, 9)
    for error, call in (
        (DtypeError, lambda: functional.delayed(x, weight, late.float())),
        (DtypeError, lambda: functional.delayed(x.long(), weight, late)),
        (ArgumentError, lambda: functional.delayed(x, weight, late[:2])),
        (ArgumentError, lambda: functional.delayed(x, weight, late, -1)),
    ):
        with pytest.raises(error):
            call()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"max_delay": 0}, "max_delay"),
        ({"per": "neuron"}, "per"),
        ({"interpolation": "cubic"}, "interpolation"),
        ({"causal": 1}, "causal"),
        ({"in_features": 0}, "in_features"),
    ],
)
def test_wrong_settings_are_refused(options, word):
    with pytest.raises(ArgumentError, match=word):
        nn.Delay1d(**({"in_features": 2, "out_features": 2, "max_delay": 5} | options))
