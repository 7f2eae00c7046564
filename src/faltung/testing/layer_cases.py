"""A layer under test: built from its example, its inputs drawn, its results and gradients compared."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from faltung.nn.base import Example, Layer

COMPLEX = {torch.float64: torch.complex128, torch.float32: torch.complex64}


@dataclass(frozen=True)
class Case:
    """A layer's class with one of its examples."""

    kind: type[Layer]
    example: Example

    @property
    def text(self) -> str:
        words = ", ".join(f"{name}={value!r}" for name, value in self.example.arguments.items())
        return f"{self.kind.__name__}({words})"

    def layer(self, dtype: torch.dtype = torch.float64, device: str = "cpu", stir: bool = True) -> Any:
        """The layer in evaluation mode, from a fixed seed, with stirred parameters and running statistics."""
        torch.manual_seed(0)
        settings = dict(self.example.arguments)
        known = inspect.signature(self.kind.__init__).parameters
        if "dtype" in known and "dtype" not in settings:
            settings["dtype"] = self.kind_of(dtype)
        if device == "meta" and "device" in known:
            settings["device"] = device
        made = self.kind(**settings)
        if "dtype" not in known:
            made = made.to(dtype)
        if stir and device != "meta":
            stirred(made)
        return made.eval().to(device)

    def inputs(
        self, dtype: torch.dtype = torch.float64, device: str = "cpu", change: Callable = tuple, seed: int = 1
    ) -> Any:
        """Normal numbers in the example's shapes, each shape passed through `change` first."""
        generator = torch.Generator().manual_seed(seed)

        def draw(shape: tuple[int, ...]) -> Tensor:
            drawn = torch.randn(change(shape), dtype=self.kind_of(torch.float64), generator=generator)
            return drawn.to(device=device, dtype=self.kind_of(dtype))

        return pytree.tree_map(draw, self.example.inputs, is_leaf=is_shape)

    def kind_of(self, dtype: torch.dtype) -> torch.dtype:
        return COMPLEX.get(dtype, dtype) if self.example.complex else dtype

    def shapes(self, change: Callable = tuple) -> Any:
        return pytree.tree_map(lambda shape: tuple(change(shape)), self.example.inputs, is_leaf=is_shape)


def is_shape(thing: Any) -> bool:
    """Whether it is a tuple of whole numbers."""
    return isinstance(thing, tuple) and all(isinstance(n, int) for n in thing)


def cases(kinds: Any) -> list[Case]:
    """Every example of these classes."""
    return [Case(kind, example) for kind in kinds for example in kind.examples()]


def matrix_of(layer: Any, x: Tensor) -> Tensor:
    """The layer's effective matrix for one sample like x, in x's dtype, which a layer without parameters cannot know."""
    if any(p.is_floating_point() for p in layer.parameters()):
        return layer.effective_matrix(x.shape[1:])
    usual = torch.get_default_dtype()
    torch.set_default_dtype(x.real.dtype)
    try:
        return layer.effective_matrix(x.shape[1:]).to(x.dtype)
    finally:
        torch.set_default_dtype(usual)


@torch.no_grad()
def stirred(layer: nn.Module) -> None:
    """Move all learnt numbers and running statistics away from their first values."""
    for value in layer.parameters():
        value.add_(torch.randn_like(value), alpha=0.1)
    for name, value in layer.named_buffers():
        if name.endswith("running_mean"):
            value.add_(torch.randn_like(value), alpha=0.1)
        elif name.endswith("running_var"):
            value.mul_(0.5 + torch.rand_like(value))


def near(got: Any, wanted: Any, tolerance: float, what: str, norm: bool = False) -> None:
    """The same structure, shapes and, relative to the largest (or the norm of all), the same numbers."""
    ours, theirs = pytree.tree_leaves(got), pytree.tree_leaves(wanted)
    assert len(ours) == len(theirs), f"{what}: {len(ours)} results and {len(theirs)}"
    for a, b in zip(ours, theirs, strict=True):
        if a is None or b is None:  # the derivative for what has no influence
            assert a is b, f"{what}: one result is missing"
            continue
        assert tuple(a.shape) == tuple(b.shape), f"{what}: shapes {tuple(a.shape)} and {tuple(b.shape)}"
        if not a.numel():
            continue
        wide = torch.complex128 if a.is_complex() or b.is_complex() else torch.float64
        error, size = (a.to(wide) - b.to(wide)).abs(), b.to(wide).abs()
        off = (error.norm() / (size.norm() + 1e-30)).item() if norm else (error.max() / (size.max() + 1e-30)).item()
        assert off <= tolerance or error.max() == 0, (
            f"{what}: off by {off:.2e} of the largest, {tolerance:.0e} is allowed"
        )


def loss_of(results: Any) -> Tensor:
    """A real number that depends on every result, each in another way."""
    total: Any = 0.0
    for result in pytree.tree_leaves(results):
        weights = torch.linspace(0.5, 1.5, max(result.numel(), 1), dtype=torch.float64, device=result.device)
        values = result.abs() ** 2 if result.is_complex() else result * (1 + result)
        total = total + (values.reshape(-1) * weights[: result.numel()].to(values.dtype)).sum()
    return total


def gradients(layer: Any, inputs: Any) -> list[Tensor | None]:
    """The derivatives of `loss_of` for all parameters and inputs."""
    leaves, spec = pytree.tree_flatten(inputs)
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    wanted = [p for p in layer.parameters() if p.requires_grad] + leaves
    return list(torch.autograd.grad(loss_of(layer(*pytree.tree_unflatten(leaves, spec))), wanted, allow_unused=True))


def derivatives(case: Case) -> tuple[dict[str, list[Tensor | None]], dict[str, list[Tensor | None]]]:
    """Those of `gradients` by name, for parameters and for inputs, each in training and in evaluation mode."""
    layer, inputs = case.layer(torch.float32), case.inputs(torch.float32)
    names = [name for name, p in layer.named_parameters() if p.requires_grad]
    both = [gradients(layer.train(mode), inputs) for mode in (True, False)]
    values = [list(pair) for pair in zip(*both, strict=True)]
    others = [f"input {n}" for n in range(len(values) - len(names))]
    return dict(zip(names, values, strict=False)), dict(zip(others, values[len(names) :], strict=True))
