"""Implicit filters and the Hyena operator: size, resolution, causality, streams, and what only gates can do."""

import pytest
import torch

from faltung import Policy
from faltung.errors import ArgumentError
from faltung.nn import FreeFilter, Hyena, ImplicitConv1d, ImplicitFilter
from faltung.nn.sequence import LOCAL

F64 = torch.float64


def normal(*shape, seed=1, dtype=F64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("length", [50, 1000, 16384])
def test_filters_start_with_squares_that_sum_to_one_and_parameters_do_not_grow(length):
    torch.manual_seed(0)
    made = ImplicitFilter(256, length)
    assert made.parameter_count() == ImplicitFilter(256, 10).parameter_count()
    squares = made.filters(length).square().sum(-1)
    assert 0.7 < squares.mean().item() < 1.4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_counts_times_in_single(dtype):
    """Whole numbers of bfloat16 end at 256: with times of its own, 5,000 taps would fall on some hundred places."""
    torch.manual_seed(0)
    made = ImplicitFilter(4, 5000, dtype=dtype)
    like = ImplicitFilter(4, 5000)
    like.load_state_dict(made.state_dict())
    assert made.times(5000, 1.0).unique().numel() == 5000
    came, wanted = made.filters(5000), like.filters(5000)
    assert came.dtype == dtype
    assert (came - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_windows_sink_over_their_reach():
    made = ImplicitFilter(3, 100, reach=(0.2, 1.0), floor=0.0, dtype=F64)
    windows = made.windows(made.times(101, 1.0))
    fall = windows / windows[:, :1]
    torch.testing.assert_close(fall[0, 20], torch.tensor(0.01, dtype=F64))
    torch.testing.assert_close(fall[2, 100], torch.tensor(0.01, dtype=F64))


@pytest.mark.parametrize("rate", [0.5, 1.0, 1.7])
def test_filters_are_their_definition_at_every_rate(rate):
    made = ImplicitFilter(2, 12, heads=2, hidden=5, layers=3, dtype=F64)
    torch.testing.assert_close(made.filters(30, rate), made.definition_filters(30, rate), rtol=0, atol=1e-12)


def test_a_finer_rate_samples_the_same_function():
    torch.manual_seed(0)
    made = ImplicitFilter(4, 64, dtype=F64)
    torch.testing.assert_close(2 * made.filters(128, 0.5)[..., ::2], made.filters(64), rtol=0, atol=1e-12)


def test_refusals():
    for wrong in ({"omega": 0}, {"reach": 1.0}, {"reach": (0.3, -1)}, {"floor": -1}, {"bands": -1}, {"hidden": 0}):
        with pytest.raises(ArgumentError):
            ImplicitFilter(**({"channels": 1, "length": 8} | wrong))
    with pytest.raises(ArgumentError, match="filters"):
        Hyena(4, 8, constructor=lambda channels, length: FreeFilter(channels, length, heads=2))


def test_no_result_of_hyena_depends_on_later_samples_bit_for_bit():
    torch.manual_seed(0)
    layer = Hyena(3, 20, order=2, policy=LOCAL, dtype=F64)
    assert "causal" in layer.claims
    assert "causal" not in Hyena(3, 20).claims
    x = normal(1, 3, 20)
    other = torch.cat([x[..., :11], normal(1, 3, 9, seed=7)], -1)
    assert torch.equal(layer(x)[..., :11], layer(other)[..., :11])
    assert not torch.equal(layer(x)[..., 11:], layer(other)[..., 11:])


def test_hyena_of_order_two_by_hand():
    """Identity filters leave a product of three projections."""
    layer = Hyena(2, 5, order=2, short=1, dtype=F64)
    with torch.no_grad():
        layer.near.fill_(1)
        layer.outward.copy_(torch.eye(2, dtype=F64)[..., None])
        for far in layer.far:
            far.skip.fill_(1)
            far.constructor.last.weight.zero_()
    x = normal(2, 2, 5)
    parts = torch.einsum("oc,bct->bot", layer.inward[..., 0], x).split(2, 1)
    torch.testing.assert_close(layer(x), parts[0] * parts[1] * parts[2])


def test_a_stream_gives_what_the_whole_signal_gives():
    torch.manual_seed(0)
    for constructor in (None, lambda channels, length: FreeFilter(channels, length, dtype=F64).eval()):
        layer = Hyena(3, 8, order=3, constructor=constructor, dtype=F64)
        x, found = normal(2, 3, 15), []
        state = layer.initial_state(2)
        for t in range(15):
            y, state = layer.step(x[..., t], state)
            found.append(y)
        torch.testing.assert_close(torch.stack(found, -1), layer(x), rtol=0, atol=1e-10)


def test_gates_learn_a_product_that_no_filter_can():
    """Each sample times the one five steps before it: bilinear, so a linear filter learns nothing of it."""
    x = normal(64, 1, 24, dtype=torch.float32)
    target = x * torch.nn.functional.pad(x, (5, 0))[..., :24]
    left = {}
    for name, make in (("gated", lambda: Hyena(4, 24, order=1)), ("linear", lambda: ImplicitConv1d(4, 24))):
        torch.manual_seed(0)
        layer = make()
        optimizer = torch.optim.Adam(layer.parameters(), 0.01)
        for _ in range(150):
            optimizer.zero_grad()
            loss = (layer(x.expand(-1, 4, -1))[:, :1] - target).square().mean()
            loss.backward()
            optimizer.step()
        left[name] = loss.item() / target.square().mean().item()
    assert left["gated"] < 0.3
    assert left["linear"] > 0.8


@torch.no_grad()
def test_it_looks_where_it_is_told():
    x = normal(2, 3, 20)
    torch.manual_seed(0)
    back, ahead = (Hyena(3, 20, short=3, direction=word, dtype=F64) for word in ("causal", "anticausal"))
    ahead.load_state_dict(back.state_dict())
    ahead.near.copy_(back.near.flip(-1))
    torch.testing.assert_close(ahead(x), back(x.flip(-1)).flip(-1), rtol=0, atol=1e-12)
    # With second filters of zeros and nothing but the middle tap of the short ones, looking both ways is looking back.
    both = Hyena(
        3, 20, short=3, direction="bidirectional", constructor=lambda c, n: FreeFilter(c, n, 2, 0.0), dtype=F64
    ).double()
    plain = Hyena(3, 20, short=1, constructor=lambda c, n: FreeFilter(c, n, 1, 0.0), dtype=F64).double()
    for own, other in zip(both.far, plain.far, strict=True):
        own.constructor.weight[:, 1:] = 0
        other.constructor.weight.copy_(own.constructor.weight[:, :1])
        other.skip.copy_(own.skip)
    both.near[..., 0::2] = 0
    plain.near.copy_(both.near[..., 1:2])
    plain.inward.copy_(both.inward)
    plain.outward.copy_(both.outward)
    torch.testing.assert_close(both.eval()(x), plain.eval()(x), rtol=0, atol=1e-12)
    with pytest.raises(ArgumentError, match="a causal layer"):
        both.initial_state(1)
    with pytest.raises(ArgumentError, match="direction"):
        Hyena(3, 20, direction="both")
    with pytest.raises(ArgumentError, match="even number of heads"):
        Hyena(3, 20, direction="bidirectional", constructor=FreeFilter)


def steps_back(y):
    """How often each kind of step stands in the graph of a result."""
    seen, open_, found = set(), [y.grad_fn], []
    while open_:
        step = open_.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        found.append(step.name())
        open_ += [before for before, _ in step.next_functions]
    return found


@pytest.mark.parametrize("direction", ["causal", "anticausal", "bidirectional"])
@pytest.mark.parametrize("only", [(), ("negacyclic",), ("overlap",)])
def test_gates_are_multiplied_in_the_pass_that_convolves(direction, only):
    """The result and all derivatives are those of filtering, then multiplying; kept for them is no more."""
    torch.manual_seed(0)
    policy, n = Policy(only=only), 900
    heads = 2 if direction == "bidirectional" else 1
    make = lambda c, n: FreeFilter(c, n, heads, 0.0, dropout=0.0, dtype=F64)  # noqa: E731
    layer = Hyena(3, 700, order=2, short=2, constructor=make, direction=direction, dtype=F64, policy=policy)
    x, weight, known = normal(2, 3, n).requires_grad_(), normal(2, 3, n, seed=2), list(layer.parameters())
    y = layer(x)
    passes = [step for step in steps_back(y) if step in ("_RingBackward", "_GatedBackward")]
    if direction == "bidirectional":
        assert not passes
    else:
        assert len(passes) == 2
        if only:
            assert set(passes) == {"_RingBackward" if only == ("negacyclic",) else "_GatedBackward"}
    calls = []
    handles = [
        far.register_forward_hook(lambda *_: calls.append(1)) for far in layer.far
    ]  # a filter that is watched is called
    apart = layer(x)
    assert len(calls) == 2
    assert not [step for step in steps_back(apart) if step in ("_RingBackward", "_GatedBackward")]
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(y, apart, rtol=0, atol=1e-11)
    torch.testing.assert_close(y, layer.definition(x), rtol=0, atol=1e-11)
    ours, theirs = (torch.autograd.grad((r * weight).sum(), (x, *known)) for r in (y, apart))
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= 1e-11 * other.norm()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # torch on its own internals
def test_hyena_traced_or_derived_forwards_is_hyena():
    torch.manual_seed(0)
    layer = Hyena(3, 20, dtype=F64)
    x, v = normal(2, 3, 30), normal(2, 3, 30, seed=3)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x), rtol=0, atol=1e-12)
    _, forwards = torch.func.jvp(layer, (x,), (v,))
    wide = x.clone().requires_grad_()
    (back,) = torch.autograd.grad((layer(wide) * v).sum(), wide)
    # <v, J v> both ways
    torch.testing.assert_close((forwards * v).sum(), (back * v).sum(), rtol=0, atol=1e-9)
    each = torch.func.vmap(lambda one: layer(one[None])[0])(x)
    torch.testing.assert_close(each, layer(x), rtol=0, atol=1e-12)
