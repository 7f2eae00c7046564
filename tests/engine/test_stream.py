"""Streams: all results together are the convolution, whatever the chunks; what is promised about delay, state and exchange."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import faltung
from faltung.engine.stream_partitions import Leap
from faltung.errors import ArgumentError, DtypeError

# Blocks of registers are compiled for each shape; here it is the streaming that is tested.
FEW = faltung.Policy(without=("blocks", "indirect"))
SCHEMES = ("whole", "uniform", "growing", "auto")


def in_chunks(stream, x, lengths, axis=-1, before=lambda stream: None):
    """All results of a signal cut into chunks; the last chunk takes what is left."""
    total, results, at = x.shape[axis], [], 0
    for length in [*lengths, total]:
        stop = min(at + length, total)
        before(stream)
        results.append(stream.push(x.take(range(at, stop), axis)))
        at = stop
        assert stream.seen == at
        assert stream.seen - stream.latency <= stream.emitted <= stream.seen
    results.append(stream.flush())
    return np.concatenate(results, axis=axis)


def near(stream, x, k, y, wanted):
    scale = np.abs(x).max(initial=0) * np.abs(k).sum()
    assert y.shape == wanted.shape
    assert y.dtype == wanted.dtype
    bound = stream.error + faltung.plan(x, k).error if k.ndim == x.ndim == 1 else 2 * stream.error + 1e-6
    assert np.abs(y - wanted).max(initial=0) <= bound * scale


@settings(max_examples=60, deadline=None)
@given(
    scheme=st.sampled_from(SCHEMES),
    zero=st.booleans(),
    block=st.integers(1, 40),
    taps=st.integers(1, 300),
    lengths=st.lists(st.integers(0, 200), max_size=8),
    total=st.integers(1, 900),
    dtype=st.sampled_from(["float32", "float64", "complex64", "complex128"]),
)
def test_all_results_together_are_the_convolution(scheme, zero, block, taps, lengths, total, dtype):
    random = np.random.default_rng(taps * 1000 + total)
    x, k = (random.standard_normal(n) + 1j * random.standard_normal(n) for n in (total, taps))
    x, k = (a.astype(dtype) if dtype.startswith("c") else a.real.astype(dtype) for a in (x, k))
    stream = faltung.stream(k, block=block, zero_latency=zero, partitions=scheme)
    assert stream.latency == (0 if zero else block - 1)
    wanted = faltung.convolve(x, k)
    near(stream, x, k, in_chunks(stream, x, lengths), wanted)
    near(stream, x, k, in_chunks(stream, x, lengths[::-1]), wanted)  # as new after a flush


@settings(max_examples=40, deadline=None)
@given(
    scheme=st.sampled_from(("uniform", "growing")),
    zero=st.booleans(),
    block=st.sampled_from([1, 7, 16, 64, 100]),
    taps=st.integers(1, 400),
    lengths=st.lists(st.integers(0, 1500), min_size=1, max_size=6),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_long_pushes_leap_and_the_lines_go_on(scheme, zero, block, taps, lengths, dtype):
    """Pushes longer than the filter take another way; what comes after them must find the lines as if they had not."""
    random = np.random.default_rng(taps)
    x, k = (random.standard_normal(n).astype(dtype) for n in (sum(lengths) + 50, taps))
    stream = faltung.stream(k, block=block, zero_latency=zero, partitions=scheme)
    leaps = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Leap, "pays", lambda self, samples, cost: leaps.append(samples) or True)
        near(stream, x, k, in_chunks(stream, x, lengths), faltung.convolve(x, k))
    assert leaps or not stream.parts or max(*lengths, 50) < max(taps, block)


def test_long_pushes_are_cheaper_at_once_and_bits_do_not_depend_on_threads():
    random = np.random.default_rng(2)
    x, k = (random.standard_normal((2, n)).astype("float32") for n in (60_000, 9000))
    made = [
        faltung.stream(k, "c *t, c *t -> c *t", block=256, partitions="uniform", policy=faltung.Policy(threads=threads))
        for threads in (1, 2)
    ]
    both = [np.concatenate([s.push(x), s.push(x[:, :300]), s.flush()], -1) for s in made]
    assert both[0].tobytes() == both[1].tobytes()
    assert all(s._filters[0].leap is not None for s in made)
    x[0, 30_000] = np.nan  # stays with its own taps, rounded up to parts: no leap over what is not finite
    y = made[0].push(x)
    bad = ~np.isfinite(y)
    assert not bad[1].any()
    assert bad[0, 30_000:39_000].all()
    assert not bad[0, :29_696].any()


def test_parts_grow_as_soon_as_their_answer_is_in_time():
    for zero in (False, True):
        stream = faltung.stream(np.ones(40_000), block=16, zero_latency=zero, partitions="growing")
        assert stream.partitions == "growing"
        assert stream.head == (16 if zero else 0)
        at = stream.head
        for part in stream.parts:
            assert part.first == at
            assert part.first >= part.block - (0 if zero else 16)
            at += part.block * part.pieces
        assert at >= 40_000
        assert [p.block for p in stream.parts] == sorted({p.block for p in stream.parts})


@pytest.mark.parametrize("block", [16, 64])
@pytest.mark.parametrize("zero", [False, True])
def test_long_filters_in_growing_parts(zero, block):
    random = np.random.default_rng(0)
    x, k = random.standard_normal(9000), random.standard_normal(5000)
    stream = faltung.stream(k, block=block, zero_latency=zero, partitions="growing")
    lengths = random.integers(0, 5 * block, 60).tolist()
    near(stream, x, k, in_chunks(stream, x, lengths), faltung.convolve(x, k))


PATTERNS = {
    "c *t, *t -> c *t": ((3, 0), (0,)),
    "c *t, c *t -> c *t": ((3, 0), (3, 0)),
    "c *t, o c *t -> o *t": ((3, 0), (2, 3, 0)),
    "b c *t, o c *t -> b o *t": ((2, 3, 0), (4, 3, 0)),
    "*t c, *t -> *t c": ((0, 2), (0,)),
    "*t c, *t c -> c *t": ((0, 2), (0, 2)),
    "b g c *t, g o c *t -> b g o *t": ((2, 2, 3, 0), (2, 2, 3, 0)),
    "b c *t, b o c *t -> o b *t": ((2, 3, 0), (2, 4, 3, 0)),
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_channels_meet_as_the_pattern_says(pattern, scheme):
    random = np.random.default_rng(1)
    x_shape, k_shape = PATTERNS[pattern]
    x = random.standard_normal([n or 500 for n in x_shape]).astype("float32")
    k = random.standard_normal([n or 77 for n in k_shape]).astype("float32")
    stream = faltung.stream(k, pattern, block=20, partitions=scheme, zero_latency=scheme == "growing", policy=FEW)
    wanted = faltung.convolve(x, k, pattern, policy=FEW)
    axis, out = x_shape.index(0), pattern.split("->")[1].split().index("*t")
    results = [stream.push(x.take(range(a, min(a + 63, 500)), axis)) for a in range(0, 500, 63)]
    y = np.concatenate([*results, stream.flush()], axis=out)
    near(stream, x, k, y, wanted)


@pytest.mark.parametrize(
    ("over", "dtype"), [(None, "int16"), (None, "uint8"), ("max-plus", "float64"), ("boolean", "bool"), ("modular(7)", "int64")]
)  # fmt: skip
def test_exact_and_ordered_algebras_stream_bit_for_bit(over, dtype):
    random = np.random.default_rng(2)
    x, k = (random.integers(0, 2 if dtype == "bool" else 7, n).astype(dtype) for n in (300, 40))
    for block in (None, 8):
        stream = faltung.stream(k, block=block, over=over, policy=FEW)
        y = in_chunks(stream, x, [3, 50, 1, 120])
        wanted = faltung.convolve(x, k, over=over, policy=FEW)
        np.testing.assert_array_equal(y, wanted)
        assert y.dtype == wanted.dtype
    with pytest.raises(ArgumentError, match="spectra"):
        faltung.stream(k, over=over, partitions="uniform")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_results_do_not_depend_on_what_comes_later(scheme):
    random = np.random.default_rng(3)
    k, x = random.standard_normal(200), random.standard_normal(1000)
    other = x.copy()
    other[600:] += 100.0
    results = []
    for signal in (x, other):
        stream = faltung.stream(k, block=32, zero_latency=True, partitions=scheme)
        y = np.concatenate([stream.push(signal[a : a + 50]) for a in range(0, 1000, 50)])
        results.append(y)
    np.testing.assert_array_equal(results[0][:600], results[1][:600])
    assert (np.abs(results[0][600:] - results[1][600:]) > 0).mean() > 0.9


@settings(max_examples=25, deadline=None)
@given(
    scheme=st.sampled_from(SCHEMES),
    zero=st.booleans(),
    taps=st.integers(1, 400),
    first=st.lists(st.integers(0, 300), max_size=5),
    rest=st.lists(st.integers(0, 300), max_size=5),
)
def test_a_saved_state_goes_on_where_it_was(scheme, zero, taps, first, rest):
    random = np.random.default_rng(taps)
    x, k = random.standard_normal((2, 2000)), random.standard_normal(taps)
    how = {"block": 16, "zero_latency": zero, "partitions": scheme}
    stream = faltung.stream(k, "c *t, *t -> c *t", **how)
    at = 0
    for length in [*first, 1]:
        stream.push(x[:, at : at + length])
        at += length
    state = stream.state()
    assert all(isinstance(value, np.ndarray) for value in state.values())
    other = faltung.stream(k, "c *t, *t -> c *t", **how)
    other.restore(state, like=x[:, :0])
    assert (other.seen, other.emitted) == (stream.seen, stream.emitted)
    scale = np.abs(x).max() * np.abs(k).sum()
    for length in [*rest, 200]:
        ours, theirs = other.push(x[:, at : at + length]), stream.push(x[:, at : at + length])
        at += length
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max(initial=0) <= 2 * stream.error * scale
    assert np.abs(other.flush() - stream.flush()).max(initial=0) <= 2 * stream.error * scale


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("fade", [0, 1, 100])
def test_an_exchanged_filter_sounds_as_if_it_had_been_there(scheme, zero, fade):
    random = np.random.default_rng(4)
    x, before, after = (random.standard_normal(n) for n in (3000, 300, 250))
    stream = faltung.stream(before, block=32, zero_latency=zero, partitions=scheme)
    results = [stream.push(x[a : a + 70]) for a in range(0, 1400, 70)]
    change = stream.emitted
    stream.exchange(after, fade)
    if fade:
        with pytest.raises(ArgumentError, match="no fade"):
            stream.exchange(before)
        other = faltung.stream(before, block=32, zero_latency=zero, partitions=scheme)
        other.restore(stream.state(), like=x)  # a fade under way is part of the state
        stream = other
    results += [stream.push(x[a : a + 70]) for a in range(1400, 3000, 70)]
    y = np.concatenate([*results, stream.flush()])
    old, new = faltung.convolve(x, before), np.zeros(x.size + before.size - 1)
    new[: x.size + after.size - 1] = faltung.convolve(x, after)
    w = np.clip((np.arange(y.size) - change + 1) / (fade + 1), 0, 1) * (np.arange(y.size) >= change)
    near(stream, x, before, y, (1 - w) * old + w * new)


def test_a_filter_exchanged_before_the_first_sample():
    stream = faltung.stream([1.0, 2.0], block=4)
    stream.exchange(np.array([3.0]))
    np.testing.assert_allclose(np.concatenate([stream.push([1.0, 1.0]), stream.flush()]), [3, 3, 0])


def test_memory_does_not_grow():
    random = np.random.default_rng(5)
    stream = faltung.stream(random.standard_normal(500), block=32, partitions="growing")

    def held():
        running = stream._filters[0]
        arrays = [running.past.values, running.acc.values, *(line.line.ring for line in running.lines)]
        return sum(a.nbytes for a in arrays)

    sizes = []
    for _ in range(60):
        stream.push(random.standard_normal(997))
        sizes.append(held())
    assert max(sizes[30:]) < 1.2 * max(sizes[:30])
    assert max(sizes) < 40 * 8 * 2000


def test_a_value_that_is_not_finite_passes():
    stream = faltung.stream(np.ones(100), block=16, partitions="uniform")
    x = np.zeros(1000)
    x[200] = np.nan
    y = np.concatenate([stream.push(x), stream.flush()])
    bad = np.flatnonzero(np.isnan(y))
    assert set(range(200, 300)) <= set(bad)
    assert bad.min() >= 200 - 16
    assert bad.max() < 300 + 3 * 16


def test_run_yields_what_push_and_flush_return():
    random = np.random.default_rng(6)
    x, k = random.standard_normal(1000), random.standard_normal(50)
    stream = faltung.stream(k, block=64)
    pieces = list(stream.run(x[a : a + 100] for a in range(0, 1000, 100)))
    assert all(len(piece) for piece in pieces)
    np.testing.assert_allclose(np.concatenate(pieces), faltung.convolve(x, k), atol=1e-12)


def test_tensors_come_back_as_tensors():
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(7)
    x, k = (torch.from_numpy(random.standard_normal((2, n))).float() for n in (700, 90))
    for dtype in (torch.float32, torch.bfloat16):
        stream = faltung.stream(k.to(dtype), "c *t, c *t -> c *t", block=32)
        parts = [stream.push(x[:, a : a + 99].to(dtype)) for a in range(0, 700, 99)]
        y = torch.cat([*parts, stream.flush()], -1)
        assert y.dtype == dtype
        wanted = faltung.convolve(x.to(dtype), k.to(dtype), "c *t, c *t -> c *t")
        torch.testing.assert_close(y, wanted, atol=1e-4 if dtype == torch.float32 else 0.2, rtol=0.02)
    with pytest.raises(ArgumentError, match="chunked_conv"):
        stream.push(x.to(dtype).requires_grad_())


def test_the_default_block_is_the_cheapest():
    costs = {b: faltung.stream(np.ones(5000), block=b).cost for b in (64, 512, 4096, 16384)}
    chosen = faltung.stream(np.ones(5000))
    assert chosen.cost <= min(costs.values())
    assert "5000 taps" in repr(chosen)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"k": np.ones((3, 3))}, "one convolved axis"),
        ({"k": np.ones(3), "block": 0}, "at least 1"),
        ({"k": np.ones(3), "partitions": "none"}, "whole, uniform"),
        ({"k": np.ones(0)}, "at least one tap"),
    ],
)
def test_wrong_streams_are_named(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        faltung.stream(**arguments)


def test_wrong_chunks_are_named():
    stream = faltung.stream(np.ones((2, 4)), "c *t, c *t -> c *t", block=4)
    with pytest.raises(ArgumentError, match="seen samples"):
        stream.flush()
    with pytest.raises(ArgumentError, match="seen samples"):
        stream.state()
    with pytest.raises(ArgumentError, match="like="):
        stream.restore({})
    with pytest.raises(ArgumentError):
        stream.push(np.ones((3, 10)))
    stream.push(np.ones((2, 10)))
    with pytest.raises(ArgumentError, match="axes c"):
        stream.push(np.ones(10))
    with pytest.raises(DtypeError):
        stream.push(np.ones((2, 10), "float32"))
    with pytest.raises(ArgumentError, match="shape"):
        stream.exchange(np.ones((2, 5)))
    with pytest.raises(ArgumentError, match="fade"):
        stream.exchange(np.ones((2, 4)), -1)
    with pytest.raises(ArgumentError, match="past samples"):
        stream.restore({"past": np.ones(3)})
