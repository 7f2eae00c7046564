"""Chunked causal convolution: chunks with a carried state are the whole sequence, gradients included."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import faltung
from faltung.errors import ArgumentError
from faltung.nn import functional as F

PATTERNS = {
    "b c *t, c *t -> b c *t": ((2, 3, 0), (3, 0)),
    "b c *t, o c *t -> b o *t": ((2, 3, 0), (4, 3, 0)),
    "b *t c, c *t -> b *t c": ((2, 0, 3), (3, 0)),
}


@settings(max_examples=20, deadline=None)
@given(
    pattern=st.sampled_from(list(PATTERNS)),
    taps=st.integers(1, 20),
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=5),
)
def test_chunks_are_the_whole(pattern, taps, lengths):
    torch.manual_seed(taps)
    x_shape, k_shape = PATTERNS[pattern]
    x = torch.randn([n or sum(lengths) for n in x_shape], dtype=torch.float64, requires_grad=True)
    k = torch.randn([n or taps for n in k_shape], dtype=torch.float64, requires_grad=True)
    axis = x_shape.index(0)
    out = pattern.split("->")[1].split().index("*t")
    state, results = None, []
    for chunk in x.split(lengths, axis):
        y, state = F.chunked_conv(chunk, k, state, pattern)
        assert state.shape[axis] == taps - 1
        results.append(y)
    y = torch.cat(results, out)
    whole = faltung.convolve(x, k, pattern, mode=((taps - 1, 0),))
    torch.testing.assert_close(y, whole, atol=1e-12, rtol=1e-12)
    weight = torch.randn_like(whole)
    ours, theirs = (torch.autograd.grad((a * weight).sum(), (x, k)) for a in (y, whole))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-11, rtol=1e-11)


def test_a_wrong_state_is_named():
    x, k = torch.ones(1, 2, 5), torch.ones(2, 3)
    with pytest.raises(ArgumentError, match="state of shape"):
        F.chunked_conv(x, k, torch.ones(1, 2, 3))
    with pytest.raises(ArgumentError, match="one convolved axis"):
        F.chunked_conv(torch.ones(1, 2, 5, 5), torch.ones(2, 3, 3))
