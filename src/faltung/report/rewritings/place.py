"""What rewritings share: where the layers of a model are, and which of them may be changed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from faltung.readers import Network
from faltung.report.sections.identity import calls

if TYPE_CHECKING:
    from faltung.report.report import Report


SMALL = 1e-6  # of what it is compared with: round-off of single precision


def inputs_of(report: "Report") -> tuple[Any, ...]:
    """A report's example as all arguments of the model."""
    return tuple(report.example) if isinstance(report.example, (tuple, list)) else (report.example,)


def noise_like(inputs: Sequence[Any]) -> tuple[Any, ...]:
    """Noise in place of an example's numbers: an example of zeros would show no fault of a kernel."""
    import torch

    drawn = torch.Generator().manual_seed(0)

    def one(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        return torch.randn(value.shape, generator=drawn).to(value)

    return tuple(map(one, inputs))


def named(report: "Report", rule: str) -> list[str]:
    """The layers that a finding names."""
    return [layer for f in report.findings if f.rewrite == rule for layer, _ in f.where]


def plain(layer: Any, shape: tuple[int, ...]) -> bool:
    """Whether a layer is its weight and bias alone, both free to be set."""
    from torch import nn

    own = dict(layer.named_parameters(recurse=False))
    return (
        isinstance(layer.__dict__.get("_parameters", {}).get("weight"), nn.Parameter)
        and tuple(layer.weight.shape) == tuple(shape)
        and set(own) <= {"weight", "bias"}
        and "bias" in layer._parameters
        and not list(layer.children())
    )


def free(model: Any, network: Network) -> dict[str, Any]:
    """The plain convolutions and linear maps by name that are called once and share their numbers with no other layer."""
    modules = dict(model.named_modules(remove_duplicate=False))
    holders: dict[int, int] = {}
    for module in modules.values():
        for parameter in module.parameters(recurse=False):
            holders[id(parameter)] = holders.get(id(parameter), 0) + 1
    found = {}
    for node in network.nodes:
        layer = modules.get(node.name)
        if node.op not in ("conv", "linear") or layer is None or not plain(layer, node.kernel_shape):
            continue
        alone = all(holders[id(p)] == 1 for p in layer.parameters())
        if alone and calls(network, node) == 1:
            found[node.name] = layer
    return found


def put(model: Any, name: str, module: Any) -> None:
    """Another module at a name."""
    home, _, last = name.rpartition(".")
    setattr(model.get_submodule(home), last, module)


def sentence(done: int, of: int, what: str, left: dict[str, str]) -> str:
    """`2 of 3 norms folded, not 4: why`: what a rewriting did and what it left."""
    kept = "".join(f", not {name}: {why}" for name, why in left.items())
    return f"{done} of {of} {what}{kept}"
