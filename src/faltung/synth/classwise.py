"""Pictures blurred by a kernel that depends on their label only: a shortcut that networks take, made to measure who takes it."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_array, eye_array, kron
from scipy.sparse.linalg import splu

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
        labels = self._labels("apply", x, y)
        if not len(x):
            return x.copy()
        values = x / 255.0 if x.dtype == np.uint8 else x.astype(np.result_type(x.dtype, np.float32))
        kernels = self.kernels().astype(values.dtype)[labels]
        out = correlate(values, kernels, "b c *s, b *s -> b c *s", mode="same")
        top = out.max(axis=(1, 2, 3), keepdims=True)
        out = out / np.where(top > 0, top, 1)
        out = np.where(self._chosen(len(x))[:, None, None, None], out, values)
        return np.clip(np.round(255 * out), 0, 255).astype(np.uint8) if x.dtype == np.uint8 else out

    def restored(self, x: np.ndarray, y: np.ndarray, damping: float = 1e-6) -> np.ndarray:
        """What `apply` was given, for who has the key: the blur of every picture undone as far as it can be.

        Formula: with `T` the map of `apply` before its division, zeros around it, per channel
        `argmin_p ‖T p − x‖² + damping·‖p‖² = (TᵀT + damping)⁻¹ Tᵀ x`, then every picture divided by its largest value. Of a part of
        the picture that T makes σ times as large, `σ² / (σ² + damping)` comes back: all but a thousandth where `σ² ≥ 1000·damping`,
        nothing where σ is 0. Such parts are frequencies where the kernel has a zero, and the rows and columns that a kernel with
        its largest tap off the middle has moved out.

        Args:
            x, y: pictures (B, C, H, W) from `apply` and their labels (B,), the same batch: the batch says which ones `mix` left.
            damping: above 0, default 1e-6. More for bytes, about 1e-4: what rounding left is made `1/σ` times as large.

        Returns:
            float64 of x's shape; changed pictures with largest value 1 (a picture's own scale is lost by `apply`), others as they
            came, bytes over 255.

        Raises:
            ArgumentError: shapes or labels that do not fit, a damping not above 0.

        Error: what is lost as above, and 1e-15 · gain² / damping of the largest value.
        Cost: one sparse factorisation a class of H·W unknowns, some 20 ms for 32² pixels and two seconds for 224², which all
            pictures of the class share.
        """
        labels = self._labels("restored", x, y)
        if not damping > 0:
            raise ArgumentError.of(
                "synth.ClasswiseConv.restored",
                "a damping above 0",
                f"{damping}",
                "1e-6 is for real numbers, 1e-4 for bytes",
            )
        out = x / 255.0 if x.dtype == np.uint8 else x.astype(np.float64)
        height, width = x.shape[2:]
        kernels, changed = self.kernels(), self._chosen(len(x))
        for label in np.unique(labels[changed]):
            mine = changed & (labels == label)
            blur = _blur_matrix(kernels[label], height, width)
            normal = csc_array(blur.T @ blur + damping * eye_array(height * width))
            # Symmetric and positive: no pivots are needed, and an order made for symmetric matrices fills in least.
            solver = splu(normal, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
            seen = out[mine].reshape(-1, height * width)
            out[mine] = solver.solve(blur.T @ seen.T).T.reshape(out[mine].shape)
        top = out.max(axis=(1, 2, 3), keepdims=True, initial=0.0)
        return np.where(changed[:, None, None, None], out / np.where(top > 0, top, 1), out)

    def _labels(self, method: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        labels = np.asarray(y)
        if x.ndim != 4 or labels.shape != x.shape[:1] or not ((labels >= 0) & (labels < self.num_classes)).all():
            raise ArgumentError.of(
                f"synth.ClasswiseConv.{method}",
                f"x (B, C, H, W) and B labels from 0 to {self.num_classes - 1}",
                f"x {x.shape}, labels {labels.shape} {labels[:8].tolist()}",
                "one label a picture",
            )
        return labels

    def _chosen(self, count: int) -> np.ndarray:
        """Which pictures of a batch are changed."""
        return np.random.default_rng((self.key, self.num_classes, count)).random(count) < self.mix


def _blur_matrix(kernel: np.ndarray, height: int, width: int) -> csc_array:
    """Correlation with zeros around the picture, its rows one after another: a sum of shifts."""
    half, total = len(kernel) // 2, csc_array((height * width, height * width))
    for (i, j), tap in np.ndenumerate(kernel):
        if abs(i - half) < height and abs(j - half) < width:
            total = total + tap * kron(eye_array(height, k=i - half), eye_array(width, k=j - half), format="csc")
    return total
