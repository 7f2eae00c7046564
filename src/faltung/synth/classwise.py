"""Pictures blurred by a kernel that depends on their label only: a shortcut that networks take, made to measure who takes it."""

from dataclasses import dataclass

import numpy as np

from faltung.door import correlate
from faltung.errors import ArgumentError


@dataclass(frozen=True)
class ClasswiseConv:
    """One small secret kernel a class, applied to all pictures of that class.

    Formula: taps uniform in [0, blur], one of them, anywhere, set to 1; `x ← correlate(x, k_y) / max`, zeros around it, one
    kernel for all colours. The mean gain is `1 + (size² - 1) · blur/2`.

    Args:
        key: of the kernels: the same key gives the same kernels on every machine. At least 0.
        num_classes: at least 1.
        kernel_size: odd, default 3.
        blur: largest of the other taps, in [0, 1], default 0.3.
        mix: share of the pictures that are changed, default all; which ones depends on key and position in the batch.

    Raises:
        ArgumentError: for numbers out of range, pictures that are not (B, C, H, W), labels that are no class.

    Source: Sadasivan, Soltanolkotabi and Feizi, CUDA: convolution-based unlearnable datasets (2023).

    Example:
        >>> shortcut = ClasswiseConv(7, 10)
        >>> float(shortcut.apply(np.ones((2, 1, 4, 4)), [3, 5]).max())
        1.0
    """

    key: int
    num_classes: int
    kernel_size: int = 3
    blur: float = 0.3
    mix: float = 1.0

    def __post_init__(self) -> None:
        if (
            self.key < 0
            or self.num_classes < 1
            or self.kernel_size % 2 != 1
            or not (0 <= self.blur <= 1 and 0 <= self.mix <= 1)
        ):
            raise ArgumentError.of(
                "synth.ClasswiseConv",
                "key ≥ 0, num_classes ≥ 1, an odd kernel_size, blur and mix in [0, 1]",
                f"{self}",
                "ClasswiseConv(0, 10) has the published setting",
            )

    def kernels(self) -> np.ndarray:
        """(num_classes, size, size) float64."""
        made = np.empty((self.num_classes, self.kernel_size, self.kernel_size))
        for label in range(self.num_classes):
            rng = np.random.default_rng((self.key, label))
            made[label] = rng.uniform(0, self.blur, made[label].shape) if self.blur else 0.0
            made[label].flat[rng.integers(made[label].size)] = 1.0
        return made

    def apply(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Changed pictures: float with every picture's largest value 1, or uint8 where uint8 came.

        Shapes: x (B, C, H, W), y (B,) classes; returns x's shape.
        """
        labels = np.asarray(y)
        if x.ndim != 4 or labels.shape != x.shape[:1] or not ((labels >= 0) & (labels < self.num_classes)).all():
            raise ArgumentError.of(
                "synth.ClasswiseConv.apply",
                f"x (B, C, H, W) and B labels from 0 to {self.num_classes - 1}",
                f"x {x.shape}, labels {labels.shape} {labels[:8].tolist()}",
                "one label a picture",
            )
        if not len(x):
            return x.copy()
        values = x / 255.0 if x.dtype == np.uint8 else x.astype(np.result_type(x.dtype, np.float32))
        kernels = self.kernels().astype(values.dtype)[labels]
        out = correlate(values, kernels, "b c *s, b *s -> b c *s", mode="same")
        top = out.max(axis=(1, 2, 3), keepdims=True)
        out = out / np.where(top > 0, top, 1)
        chosen = np.random.default_rng((self.key, self.num_classes, len(x))).random(len(x)) < self.mix
        out = np.where(chosen[:, None, None, None], out, values)
        return np.clip(np.round(255 * out), 0, 255).astype(np.uint8) if x.dtype == np.uint8 else out
