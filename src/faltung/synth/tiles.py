"""Images turned by quarters and cut into squares: pretext labels, and probes of what a network sees. Arrays and tensors alike."""

from typing import Any

import numpy as np

from faltung.arrays import import_torch, is_torch
from faltung.errors import ArgumentError
from faltung.synth.draws import Source, random


def rotations(x: Any) -> tuple[Any, Any]:
    """Each image in its four quarter turns, with the turn as its label.

    Shapes: x (B, C, n, n); returns (4B, C, n, n), first all images as they are, then all turned by 90° and so on, and labels (4B,)
        0 to 3.
    Raises: ArgumentError for images that are not square: their turns have another shape.
    Error: none, values only move.
    Source: Gidaris, Singh and Komodakis, Unsupervised representation learning by predicting image rotations (2018).

    Example:
        >>> turned, labels = rotations(np.arange(4.0).reshape(1, 1, 2, 2))
        >>> turned[1].ravel().tolist(), labels.tolist()
        ([1.0, 3.0, 0.0, 2.0], [0, 1, 2, 3])
    """
    if x.ndim != 4 or x.shape[2] != x.shape[3]:
        raise ArgumentError.of(
            "synth.rotations", "square images (B, C, n, n)", f"{tuple(x.shape)}", "crop or pad to a square"
        )
    if is_torch(x):
        torch = import_torch("synth.rotations")
        labels = torch.arange(4, device=x.device).repeat_interleave(len(x))
        return torch.cat([torch.rot90(x, r, (2, 3)) for r in range(4)]), labels
    return np.concatenate([np.rot90(x, r, (2, 3)) for r in range(4)]), np.repeat(np.arange(4), len(x))


def scramble(x: Any, patch: int, rng: Source = 0) -> Any:
    """Square tiles of each image in another order, one order for the batch: texture stays, shape goes.

    Shapes: x (B, C, H, W) with H and W multiples of patch; returns the same.
    Raises: ArgumentError where patch does not divide the image.
    Source: Chen, Agarwal and Nguyen, The shape and simplicity biases of adversarially robust ImageNet-trained CNNs (2020).

    Example:
        >>> sorted(scramble(np.arange(16).reshape(1, 1, 4, 4), 2).ravel().tolist()) == list(range(16))
        True
    """
    if x.ndim != 4 or patch < 1 or x.shape[2] % patch or x.shape[3] % patch:
        raise ArgumentError.of(
            "synth.scramble",
            "images (B, C, H, W) whose sides patch divides",
            f"{tuple(x.shape)}, patch {patch}",
            "crop the images",
        )
    B, C, H, W = x.shape
    rows, columns = H // patch, W // patch
    order = random(rng, "synth.scramble").permutation(rows * columns)
    tiles = x.reshape(B, C, rows, patch, columns, patch)
    swap = (0, 1, 2, 4, 3, 5)
    tiles = tiles.permute(swap) if is_torch(x) else tiles.transpose(swap)
    tiles = tiles.reshape(B, C, rows * columns, patch, patch)[:, :, order].reshape(B, C, rows, columns, patch, patch)
    tiles = tiles.permute(swap) if is_torch(x) else tiles.transpose(swap)
    return tiles.reshape(B, C, H, W)
