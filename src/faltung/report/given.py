"""What a report runs its network on: the caller's data, or noise where none came, which is said."""

from collections.abc import Iterable
from typing import Any

from faltung.errors import ArgumentError
from faltung.readers import Network, first_tensor

MOST = 512  # samples
DRAWN = 128


def example_for(network: Network) -> Any:
    """Noise of the shapes that a graph says, None where it leaves some open or has inputs of other numbers."""
    import torch

    nodes = [network[name] for name in network.inputs]
    shapes = [tuple(n for n in node.shape or () if n is not None) for node in nodes]
    known = all(node.shape and len(s) == len(node.shape) for node, s in zip(nodes, shapes, strict=True))
    if not nodes or not known or any(not node.dtype.startswith(("float", "bfloat")) for node in nodes):
        return None
    drawn = torch.Generator().manual_seed(0)
    made = [torch.randn(s, generator=drawn).to(getattr(torch, n.dtype)) for n, s in zip(nodes, shapes, strict=True)]
    return made[0] if len(made) == 1 else tuple(made)


def gathered(data: Any, example: Any) -> tuple[Any, Any, str]:
    """(samples, labels or None, what is to be noted) of data: a batch, a pair of batch and labels, or batches or pairs in turn.

    Raises:
        ArgumentError: data that are none of these, or batches of other shapes than the example.
    """
    import torch

    given = first_tensor(example)
    if data is None:
        if given is None:
            raise ArgumentError.of("inspect", "data or an example for level 'full'", "None", "pass one of both")
        drawn = torch.Generator().manual_seed(0)
        noise = torch.randn((DRAWN, *given.shape[1:]), generator=drawn).to(given)
        return noise, None, f"no data were given: what many inputs show is that of {DRAWN} samples of noise"
    parts = [pair(one) for one in batches(data)]
    labelled = all(y is not None for _, y in parts)
    x = torch.cat([x for x, _ in parts])[:MOST]
    y = torch.cat([y for _, y in parts])[:MOST] if labelled else None
    if given is not None and x.shape[1:] != given.shape[1:]:
        raise ArgumentError.of(
            "inspect",
            f"data of samples {tuple(given.shape[1:])}",
            f"{tuple(x.shape[1:])}",
            "pass what the example is one of",
        )
    return x, y, f"{len(x)} samples of the data were looked at" if len(x) == MOST else ""


def batches(data: Any) -> Iterable[Any]:
    """The batches of data, no more than are needed."""
    import torch

    if isinstance(data, torch.Tensor) or (isinstance(data, (tuple, list)) and _labelled(data)):
        yield data
        return
    if not isinstance(data, Iterable):
        raise ArgumentError.of(
            "inspect", "a batch, or batches in turn", type(data).__name__, "pass a tensor or a loader"
        )
    seen = 0
    for one in data:
        seen += len(pair(one)[0])
        yield one
        if seen >= MOST:
            return
    if not seen:
        raise ArgumentError.of("inspect", "at least one batch", "none", "pass data, or leave it out for noise")


def pair(one: Any) -> tuple[Any, Any]:
    """A batch as samples and labels."""
    import torch

    if isinstance(one, torch.Tensor):
        return one, None
    if isinstance(one, (tuple, list)) and _labelled(one):
        return one[0], one[1]
    if isinstance(one, (tuple, list)) and len(one) == 1 and isinstance(one[0], torch.Tensor):
        return one[0], None
    raise ArgumentError.of("inspect", "batches, or pairs of batch and labels", type(one).__name__, "pass tensors")


def _labelled(one: Any) -> bool:
    """Whether something is a batch with a whole number for each sample."""
    import torch

    tensors = len(one) == 2 and all(isinstance(part, torch.Tensor) for part in one)
    return tensors and one[1].ndim == 1 and not one[1].is_floating_point() and len(one[0]) == len(one[1])
