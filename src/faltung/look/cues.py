"""What a classifier goes by: shape or texture where both say different things, and how many classes a channel answers to."""

from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.look.tables import table
from faltung.readers import first_tensor, replay, undisturbed


@dataclass(frozen=True)
class Cues:
    """Decisions on signals whose shape and texture belong to different classes.

    Fields: shape, texture: how many were decided for each.   count: how many there were.
    """

    shape: int
    texture: int
    count: int

    @property
    def bias(self) -> float:
        """shape / (shape + texture): 1 goes by shape alone, 0 by texture alone; NaN where neither was ever said."""
        decided = self.shape + self.texture
        return self.shape / decided if decided else nan

    def table(self) -> str:
        """For people."""
        neither = self.count - self.shape - self.texture
        return table(["shape", "texture", "neither", "bias"], [[self.shape, self.texture, neither, self.bias]])


def cue_bias(model: nn.Module, x: Tensor, shapes: Any, textures: Any) -> Cues:
    """Whether decisions follow shapes or textures.

    Shapes: x (batch, ...), shapes and textures (batch): the class that each cue belongs to; the model returns (batch, classes).
    Samples whose cues agree say nothing and are left out.

    Raises:
        ArgumentError: other shapes.

    Source: Geirhos et al., ImageNet-trained CNNs are biased towards texture (2019); Chen, Agarwal and Nguyen, The shape and
    simplicity biases of adversarially robust ImageNet-trained CNNs (2020).

    Example:
        >>> x = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        >>> cue_bias(nn.Identity(), x, [1, 1], [0, 0]).bias
        0.5
    """
    shape, texture = (torch.as_tensor(labels).to(x.device) for labels in (shapes, textures))
    with undisturbed(model), torch.no_grad():
        scores = first_tensor(model(x))
    if scores is None or scores.ndim != 2 or not shape.shape == texture.shape == (len(scores),):
        came = (
            "none" if scores is None else f"{tuple(scores.shape)} for {tuple(shape.shape)} and {tuple(texture.shape)}"
        )
        raise ArgumentError.of(
            "cue_bias", "results (batch, classes) and a class for each cue of each sample", came, "check them"
        )
    told = scores.argmax(1)
    differ = shape != texture
    return Cues(int(((told == shape) & differ).sum()), int(((told == texture) & differ).sum()), int(differ.sum()))


def channel_diversity(source: Any, data: Tensor, labels: Any, layer: str, top: int = 16) -> np.ndarray:
    """How many kinds of samples each channel of a layer answers to: the entropy of the labels of those that excite it most.

    Formula: H = −Σ p log₂ p over the labels of the `top` samples with the largest result anywhere in the channel.

    Shapes: data (samples, ...), labels (samples); returns (channels), 0 for one label, at most log₂ min(top, labels).

    Args:
        source: a module, or what else `faltung.readers.replay` runs.   layer: the name of a node.   top: samples. Default 16.

    Raises:
        ArgumentError: no such layer, or labels that do not fit.

    Source: Chen, Agarwal and Nguyen (2020).

    Example:
        >>> net = nn.Conv1d(1, 1, 1, bias=False)
        >>> x = torch.arange(8.0).reshape(8, 1, 1)
        >>> channel_diversity(nn.Sequential(net), x, [0] * 4 + [1] * 4, "0", 4)
        array([0.])
    """
    found = replay(source, data)
    kinds = np.asarray(labels)
    if found is None or layer not in found.network or kinds.shape != (len(data),) or not 0 < top <= len(data):
        raise ArgumentError.of(
            "channel_diversity",
            "a layer, and a label for each sample",
            f"{layer!r}, {kinds.shape} for {len(data)}",
            "check them",
        )
    peaks = (
        found.values(data, [layer])[layer].flatten(2).amax(2) if data.ndim > 2 else found.values(data, [layer])[layer]
    )
    order = peaks.argsort(dim=0, descending=True, stable=True)[:top].cpu().numpy()
    made = []
    for channel in kinds[order].T:
        shares = np.unique(channel, return_counts=True)[1] / top
        made.append(abs(float(-(shares * np.log2(shares)).sum())))
    return np.array(made)
