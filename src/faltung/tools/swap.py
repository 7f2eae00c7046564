"""Other convolutions in the place of those of a model, with their weights as far as they carry over."""

import copy as copies
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from faltung.errors import DtypeError
from faltung.tools.convolutions import found
from faltung.tools.replacement import Replacement, Target


def swap(
    model: nn.Module,
    target: Any,
    where: Any = None,
    *,
    copy: bool = True,
    sample: Any = None,
    transfer: bool = True,
    **settings: Any,
) -> "Swapped":
    """Put another layer in the place of chosen convolutions of a model, with their weights as far as they carry over.

    The new layer takes the settings of the old one (channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
    device, dtype) as far as it knows them, and those given here in their place. Where these change the extent of the kernel and
    say nothing of padding, the padding follows, so that results keep their size.

    Weights: a class with a `from_conv(conv, **settings)` of its own, conv a `faltung.nn.Conv`, makes its layer itself. Any other
    `ConvLayer` is built and takes the kernel, by a closed form where its class has one (`ConvLayer.take`), else by a search
    (`faltung.tools.fit`): exactly where its kernels include the old one, else as close as can be. What no parameter can change,
    such as channels that pass, stays: so far the kernel is off. An old kernel that is smaller stands where it meets the same
    samples, among zeros. Layers without an effective kernel start anew.

    A module that stands in several places is replaced in all of them by one layer. Frozen layers stay frozen.

    Args:
        model: any torch module.
        target: a name in `faltung.nn` ("DCLSConv2d"), a layer's class, or a function of (conv, **settings) that returns a module;
            torch's own convolutions are classes like any other, so `swap(model, nn.Conv2d, where=DCLSConv)` is the way back.
        where: which convolutions: a name or a glob pattern ("stage1.*"), a class, a function of (name, module), or several of
            these, of which one must hold. Default: all plain convolutions of the target's dimension.
        copy: whether the model is copied; else it is changed in place, and of whatever error not at all. Default True.
        sample: what the model is called with, a tensor or a tuple, to compare results of layers and model. Default: each layer
            is compared on random numbers.
        transfer: whether weights are carried over. Default True.
        settings: of the new layers, in place of the old ones'.

    Returns:
        `Swapped`, which prints as a table; its `model` is the copy or the changed model itself.

    Raises:
        ArgumentError: nothing is chosen, or a layer cannot take the place of a chosen one; the model is as it was.
        DtypeError: not a torch module, or a target that makes none.

    Cost: that of `take` or `fit` for each layer, and of two calls of the model where there is a sample.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        >>> swap(model, "CoordConv2d", axes=(1,)).model[0]
        CoordConv(2, 3, 8, (3, 3), padding=(1, 1), axes=(1,))
    """
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise DtypeError.of("swap", "a torch module in Python", type(model).__name__, "pass the model itself")
    aim = Target.of(target, settings, transfer)
    inputs = sample if isinstance(sample, tuple) or sample is None else (sample,)
    work = copies.deepcopy(model) if copy else model
    chosen = found(work, where, aim)
    owners = _owners(work)
    before, met = (None, {}) if inputs is None else _called(work, inputs, [place.module for place in chosen])
    made = [aim.replace(place, met.get(place.module)) for place in chosen]
    result = next((one.layer for one in made if "" in one.names), work)
    changed: list[tuple[nn.Module, str, nn.Module]] = []
    try:
        for one in made:
            for parent, child in _parents(work, one.names):
                changed.append((parent, child, one.old))
                setattr(parent, child, one.layer)
        off = None if inputs is None else _difference(_called(result, inputs, [])[0], before)
    except BaseException:
        for parent, child, old in changed:
            setattr(parent, child, old)
        raise
    rows = tuple(Row.of(one, _lost(one, owners)) for one in made)
    return Swapped(result, rows, off)


@dataclass(frozen=True)
class Row:
    """One replaced layer: its names, how it was and is printed, its parameters, how its weights came over and what is lost.

    `transfer` is "exact", "closed form", "least squares" (a search), "own" (what the layer's `from_conv` does, not exactly) or
    "none"; differences are relative 2-norms, None where there is nothing to compare.
    """

    names: tuple[str, ...]
    before: str
    after: str
    parameters: tuple[int, int]
    transfer: str
    kernel_difference: float | None
    output_difference: float | None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, one: Replacement, notes: tuple[str, ...]) -> "Row":
        """The row of a replacement."""
        counts = (sum(p.numel() for p in one.old.parameters()), sum(p.numel() for p in one.layer.parameters()))
        before, after = (" ".join(repr(layer).split()) for layer in (one.old, one.layer))
        notes = notes + one.notes
        return cls(one.names, before, after, counts, one.transfer, one.kernel_difference, one.output_difference, notes)

    def cells(self) -> tuple[str, ...]:
        """The row as words; of the layers only what kind they are."""
        names = " = ".join(name or "(the model)" for name in self.names)
        kinds = [text.partition("(")[0] for text in (self.before, self.after)]
        counts = "{:,} → {:,}".format(*self.parameters)
        off = [_small(value) for value in (self.kernel_difference, self.output_difference)]
        return (names, " → ".join(kinds), counts, self.transfer, *off)


@dataclass(frozen=True)
class Swapped:
    """What `swap` did: the model, a row for each layer, and how far the model's results moved on the sample (else None)."""

    model: nn.Module
    rows: tuple[Row, ...]
    output_difference: float | None

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        header = ("layer", "before → after", "parameters", "transfer", "kernel off by", "result off by")
        lines = [header, *(row.cells() for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        text += [f"{row.names[0]}: {note}" for row in self.rows for note in row.notes]
        if self.output_difference is not None:
            text.append(f"the model's result on the sample is off by {_small(self.output_difference)}")
        return "\n".join(text)


def _small(value: float | None) -> str:
    """A relative difference for people."""
    return "—" if value is None else "0" if value == 0 else f"{value:.1e}"


def _parents(model: nn.Module, names: tuple[str, ...]) -> Iterator[tuple[nn.Module, str]]:
    """Where modules of these names hang: the parent and the name there."""
    for name in names:
        if name:
            parent, _, child = name.rpartition(".")
            yield model.get_submodule(parent), child


def _owners(model: nn.Module) -> dict[Tensor, list[tuple[str, nn.Module]]]:
    """Which modules hold each parameter, with the parameter's whole name."""
    owners: dict[Tensor, list[tuple[str, nn.Module]]] = {}
    for name, module in model.named_modules():
        for own, p in module.named_parameters(recurse=False):
            owners.setdefault(p, []).append((f"{name}.{own}".removeprefix("."), module))
    return owners


def _lost(one: Replacement, owners: dict[Tensor, list[tuple[str, nn.Module]]]) -> tuple[str, ...]:
    """Which of the old layer's parameters other modules hold, too, and the new one does not."""
    kept = set(one.layer.parameters())
    notes = []
    for p in one.old.parameters():
        others = [name for name, module in owners.get(p, []) if module is not one.old]
        if others and p not in kept:
            notes.append(f"shared a parameter with {', '.join(others)}, and no longer does")
    return tuple(notes)


@torch.no_grad()
def _called(model: nn.Module, inputs: tuple, layers: list[nn.Module]) -> tuple[Any, dict[nn.Module, Tensor]]:
    """The model's result in evaluation mode, and what each of these layers was first called with."""
    met: dict[nn.Module, Tensor] = {}

    def note(layer: nn.Module, given: tuple) -> None:
        if given and isinstance(given[0], Tensor):
            met.setdefault(layer, given[0].detach().clone())

    modes = {module: module.training for module in model.modules()}
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        return model.eval()(*inputs), met
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode


def _difference(after: Any, before: Any) -> float | None:
    """The relative 2-norm of the difference of all results, None where they have other shapes."""
    pairs = list(zip(pytree.tree_leaves(after), pytree.tree_leaves(before), strict=False))
    pairs = [(a, b) for a, b in pairs if isinstance(a, Tensor) and isinstance(b, Tensor)]
    if not pairs or any(a.shape != b.shape for a, b in pairs):
        return None
    off = sum((a - b).abs().double().square().sum().item() for a, b in pairs)
    size = sum(b.abs().double().square().sum().item() for _, b in pairs)
    return (off / max(size, 1e-300)) ** 0.5
