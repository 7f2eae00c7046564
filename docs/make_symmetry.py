"""Measure what layers keep of shifts, scales and turns, and write the table and the picture of docs/symmetry.md.

python docs/make_symmetry.py           seconds
python docs/make_symmetry.py --check   whether the page's orders of magnitude are those that are measured
"""

import cmath
import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from faltung import certify
from faltung import nn as ours
from faltung.certify.actions import ContourMotion, Scale, Shift
from faltung.errors import ArgumentError
from faltung.tools import antialias

HERE = Path(__file__).parent
CIRCULAR = {"padding": "same", "padding_mode": "circular"}


class First(nn.Module):
    """The first result of a layer with several."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


class PerPixelNorm(nn.Module):
    """The layer norm of ConvNeXt: over channels, each pixel by itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.layer_norm(x.movedim(1, -1), (x.shape[1],)).movedim(-1, 1)


def layers() -> Iterable[tuple[str, nn.Module]]:
    """What is measured on maps, with its name."""
    yield "convolution 3 × 3, zeros beyond the edge", nn.Conv2d(3, 3, 3, padding=1)
    yield "convolution 3 × 3, circular", ours.Conv2d(3, 3, 3, **CIRCULAR)
    yield "the same with stride 2", nn.Conv2d(3, 3, 3, stride=2, padding=1, padding_mode="circular")
    yield "`MaxPool2d(2)` of torch", nn.MaxPool2d(2)
    yield "`BlurPool2d()`, circular", ours.BlurPool2d(padding_mode="circular")
    yield "`MaxBlurPool2d()`, circular", ours.MaxBlurPool2d(padding_mode="circular")
    yield "`PolyphaseDownsample2d()`", First(ours.PolyphaseDownsample2d())
    yield (
        "`Anchored(Conv2d(3, 3, 4, stride=4), 2, 4, undo=False)`",
        ours.Anchored(nn.Conv2d(3, 3, 4, stride=4), 2, 4, undo=False),
    )
    yield "`IdealResample2d(down=3)`", ours.IdealResample2d(down=3)
    yield "ReLU", nn.ReLU()
    yield "GELU", nn.GELU()
    yield "`Oversampled(GELU(), 2)`", ours.Oversampled(nn.GELU(), 2)
    yield "`AliasFreeActivation2d(3)`", ours.AliasFreeActivation2d(3)
    yield "layer norm, each pixel by itself", PerPixelNorm()
    yield "`GlobalLayerNorm(3)`", ours.GlobalLayerNorm(3)
    yield "`AliasFreeBlock2d(3, layer_scale=1.0)`", ours.AliasFreeBlock2d(3, layer_scale=1.0)
    yield "`ScaleFourierConv2d(3, 3, 15, 5)`", ours.ScaleFourierConv2d(3, 3, 15, 5)
    yield "`ScaleNonlinearity2d()`", ours.ScaleNonlinearity2d()
    yield '`ScaleNonlinearity2d("square", up=2)`', ours.ScaleNonlinearity2d("square", up=2)
    yield "`CropSelect2d(7, cyclic=True)`", ours.CropSelect2d(7, cyclic=True)


def curves() -> Iterable[tuple[str, nn.Module]]:
    """What is measured on contours."""
    real = nn.Conv1d(2, 2, 5, padding=2, padding_mode="circular", bias=False)
    yield "real convolution of both coordinates", Coordinates(real)
    wide = {"dtype": torch.complex128}
    yield "`ContourConv(2, 3, 5)`", ours.ContourConv(2, 3, 5, **wide)
    yield "`ContourConvTranspose(2, 3, 5, stride=2)`", ours.ContourConvTranspose(2, 3, 5, stride=2, **wide)
    yield "`ModBatchNorm(2)`", ours.ModBatchNorm(2, **wide)
    yield "`ContourPool(2)`", ours.ContourPool(2)
    yield "`CosetPool(2)`", ours.CosetPool(2)
    yield "`InvariantPool()`", ours.InvariantPool()


class ByStart(ContourMotion):
    """Starts that a coset pool follows sample by sample, modulo its length."""

    def apply_output(self, element: object, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        angle, start, _ = element
        return cmath.exp(1j * angle) * y.roll(start, -1)


class Coordinates(nn.Module):
    """A real layer of the two coordinates of a curve."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        y = self.layer(torch.cat((z.real[:, :1], z.imag[:, :1]), 1))
        return torch.complex(y[:, :1], y[:, 1:])


def words(layer: nn.Module, action: object, x: torch.Tensor) -> str:
    """The largest error over eight elements: 0, below rounding, or as it is."""
    try:
        error = certify.equivariance(layer.double(), action, x, count=8, layers=None).error
    except ArgumentError:
        return "—"
    return "0" if error == 0 else "rounding" if error < 1e-12 else f"{float(f'{error:.1g}'):g}"


def table() -> str:
    """The measured table."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 15, 15, dtype=torch.float64, generator=random)
    even = torch.randn(4, 3, 12, 12, dtype=torch.float64, generator=random)
    z = torch.randn(4, 2, 24, dtype=torch.complex128, generator=random)
    torch.manual_seed(0)  # a layer is drawn before its row begins
    lines = ["| layer | shifts by whole samples | shifts by fractions | down-scaling |", "|---|---|---|---|"]
    for name, layer in layers():
        torch.manual_seed(0)
        samples = any(word in name for word in ("stride", "Pool", "Polyphase", "Anchored", "Resample", "Crop"))
        free = any(word in name for word in ("Polyphase", "Anchored", "Crop"))
        signal = even if samples else x
        cells = [words(layer, Shift(free=free), signal), words(layer, Shift(fraction=True, free=free), signal)]
        cells.append("—" if samples else words(layer, Scale([11, 7]), x))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| layer for contours | turns, starts, places | starts by multiples of 2 |", "|---|---|---|"]
    for name, layer in curves():
        torch.manual_seed(0)
        place = "Pool(2)" not in name
        motion = ByStart if "Coset" in name else ContourMotion
        cells = [words(layer, motion(step, place), z) for step in (1, 2)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def blobs(size: int, unit: float) -> torch.Tensor:
    """A smooth image by its formula, `unit` samples for a unit of length: a zoom of it is not interpolated."""
    at = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) / unit
    places = torch.stack(torch.meshgrid(at, at, indexing="ij"), -1)
    image = torch.zeros(size, size, dtype=torch.float64)
    for row, column, deviation, height in ((2.0, -1.0, 2.6, 1.0), (-2.5, 1.5, 2.2, -0.8), (0.5, 3.0, 2.4, 0.6)):
        far = (places - torch.tensor([row, column])).square().sum(-1)
        image += height * torch.exp(-far / (2 * deviation**2))
    return image[None, None]


def zoom_error(layers: nn.Module, moved: int = 3) -> float:
    """`‖y'(j + moved)(2t) − y(j)(t)‖ / ‖y‖`, y' of an image of twice the size; three of five scales make a factor of two."""
    with torch.no_grad():
        small, large = (layers(blobs(*at)).unflatten(1, (-1, 5)) for at in ((41, 1.0), (81, 2.0)))
    small, large = small[:, :, :2, 10:-10, 10:-10], large[:, :, moved : moved + 2, 20:-20:2, 20:-20:2]
    return ((large - small).norm() / small.norm()).item()


def zooms() -> str:
    """The measured errors of zooms."""
    head = "| `width` | taps at four scales | one layer | with `reach=6` | two layers and tanh | without the move along scales |"
    lines = [head, "|---|---|---|---|---|---|"]
    for width in (0.4, 0.5, 0.7, 1.0):
        common = {"scales": 5, "width": width, "padding": "same", "bias": False, "dtype": torch.float64}
        torch.manual_seed(0)
        lift = ours.ScaleConv2d(1, 3, in_type="trivial", **common)
        wide = ours.ScaleConv2d(1, 3, in_type="trivial", reach=6.0, **common)
        wide.load_state_dict(lift.state_dict())
        two = nn.Sequential(lift, nn.Tanh(), ours.ScaleConv2d(3, 2, **common))
        taps = ours.ScaleConv2d(1, 1, width=width).kernel_size[0]
        errors = [zoom_error(layer) for layer in (lift, wide, two)] + [zoom_error(lift, moved=0)]
        cells = (f"{float(f'{e:.1g}'):g}" for e in errors)
        lines.append(f"| {width} | {taps} × {taps} | {' | '.join(cells)} |")
    return "\n".join(lines)


def network() -> nn.Sequential:
    """What the picture shows."""
    torch.manual_seed(0)
    around = {"padding": 1, "padding_mode": "circular"}
    layers = (
        nn.Conv2d(1, 8, 3, **around),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, stride=2, **around),
        nn.ReLU(),
    )
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).double()


def pictures() -> None:
    """Where a small CNN loses shifts, before and after."""
    x = torch.randn(4, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model = network()
    made = antialias(model, x, "polyphase").model
    certify.equivariance(model, "shift up to a roll", x).picture(HERE / "pictures" / "shifts_lost.png")
    certify.equivariance(made, "shift up to a roll", x).picture(HERE / "pictures" / "shifts_kept.png")


def rough(text: str) -> list[str]:
    """Cells with numbers rounded to powers of ten, for other machines' rounding."""
    cells = re.findall(r"\|([^|\n]*)(?=\|)", text)
    return [str(round(math.log10(float(c)))) if re.fullmatch(r" [\d.e-]+ ", c) and float(c) else c for c in cells]


def main(check: bool) -> int:
    page = HERE / "symmetry.md"
    text = page.read_text(encoding="utf-8")
    new = text
    for name, written in (("measured", table), ("zooms", zooms)):
        block, lines = rf"(<!-- {name} -->\n).*?(<!-- end -->)", written()
        new = re.sub(block, lambda m, lines=lines: f"{m[1]}{lines}\n{m[2]}", new, flags=re.DOTALL)
    if check:
        return 0 if rough(new) == rough(text) else 1
    page.write_text(new, encoding="utf-8")
    pictures()
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
