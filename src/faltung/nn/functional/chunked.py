"""Causal convolution of a sequence that comes in chunks, with what is carried from one to the next; differentiable."""

import torch
from torch import Tensor

from faltung.door import convolve
from faltung.errors import ArgumentError
from faltung.pattern import Pattern
from faltung.planner import Policy


def chunked_conv(
    x: Tensor,
    k: Tensor,
    state: Tensor | None = None,
    pattern: str = "b c *t, c *t -> b c *t",
    policy: Policy | None = None,
) -> tuple[Tensor, Tensor]:
    """Convolve the next chunk of a sequence, causally: as many results as it has samples.

    Formula: `y[p] = Σ over u of x[p − u] k[u]`, where x before the chunk is the state: the last taps − 1 samples, zeros at first.
    All chunks one after the other give what the whole sequence gives at once, and so do their gradients, to k and through the
    state to earlier chunks (detach the state to cut these off).

    Shapes: by the pattern, with one convolved axis; the default is depthwise, x (batch, channels, n), k (channels, taps).

    Args:
        state: what the call before returned. Default: nothing came before.

    Returns:
        The results, and the state for the next chunk: x's shape with taps − 1 samples.

    Raises:
        ArgumentError: a pattern with several convolved axes, a state of another shape.

    Error: as `faltung.convolve`.   Cost: that of chunk and state together; memory besides the graph does not grow.
    Source: overlap-save.

    Example:
        >>> y, state = chunked_conv(torch.ones(1, 1, 2), torch.tensor([[1.0, 0.5, 0.25]]))
        >>> chunked_conv(torch.ones(1, 1, 2), torch.tensor([[1.0, 0.5, 0.25]]), state)[0]
        tensor([[[1.7500, 1.7500]]])
    """
    layout = Pattern.parse(pattern)
    if layout.ndim(layout.x, tuple(x.shape)) != 1 or layout.ndim(layout.k, tuple(k.shape)) != 1:
        raise ArgumentError.of(
            "chunked_conv", f"one convolved axis in {pattern!r}", f"x {tuple(x.shape)} and k {tuple(k.shape)}",
            "name the other axes in the pattern",
        )  # fmt: skip
    at, kept = layout.x.index(layout.star), k.shape[layout.k.index(layout.star)] - 1
    wanted = tuple(kept if axis == at else n for axis, n in enumerate(x.shape))
    if state is None:
        state = x.new_zeros(wanted)
    elif tuple(state.shape) != wanted:
        raise ArgumentError.of(
            "chunked_conv", f"a state of shape {wanted}", f"{tuple(state.shape)}", "pass what came back"
        )
    whole = torch.cat([state, x], at)
    y = convolve(whole, k, pattern, mode=((0, 0),), policy=policy)
    return y, whole.narrow(at, whole.shape[at] - kept, kept)
