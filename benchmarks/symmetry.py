"""Layers of symmetry beside their peers: group convolutions, Gaunt and SO(2) products against e3nn's tensor product.

    python benchmarks/symmetry.py            writes benchmarks/results/symmetry.md and docs/pictures/symmetry.svg, about two minutes
    python benchmarks/symmetry.py --most 6   degrees up to 6 only, nothing is written

Group convolutions: forward and backward, against the composition that one writes in torch (turned filters stacked, then conv2d),
and a plain convolution of as many values, which has eight times the weights. Spherical features: forward, 64 edges, 8 channels,
float32, the shortest of several calls in turns. e3nn's is the full tensor product of all paths ("uuu", a weight for each), which
becomes slow and large: it is left out beyond the degree that takes more than STOP seconds to build.

Blocks: convolution along the group by irreducible representations, for kernels of one tap as the layer does it, and for 3 × 3
taps by windows that each value of a fibre gathers turned by its own element (as many fields as there are taps).

escnn is a peer where it can be imported; its tables for rotations of space, compiled for old releases of NumPy, are replaced by
empty modules, for groups of the plane need none of them.
"""

import argparse
import math
import sys
import time
import types

import timing

timing.settle()

import torch

from faltung import nn
from faltung.nn.symmetry.group_fourier import GroupProduct

STOP, EDGES, CHANNELS = 12.0, 64, 8
PICTURE = timing.HERE.parent / "docs" / "pictures" / "symmetry.svg"


class Stacked(torch.nn.Module):
    """What one writes first: eight turned copies of the filters, with the input's fibre permuted, stacked in every call."""

    def __init__(self, layer: nn.GroupConv2d) -> None:
        super().__init__()
        taps, size = layer.kernel_size[0], layer.acting.order
        self.weight = torch.nn.Parameter(
            layer.weight.detach().reshape(layer.out_fields, layer.in_fields, size, taps, taps).clone()
        )
        self.layer, self.padding = layer, layer.padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        acting, bank = self.layer.acting, []
        for g, (turn, mirror) in enumerate(acting.group.elements):
            own = self.weight[:, :, torch.from_numpy(acting.group.table[acting.group.inverses[g]].astype("int64"))]
            bank.append(torch.rot90(own.flip(-1) if mirror else own, turn, (3, 4)))
        kernel = torch.stack(bank, 1).flatten(2, 3).flatten(0, 1)
        return torch.nn.functional.conv2d(x, kernel, self.layer.effective_bias(), padding=self.padding)


def trained(layer: torch.nn.Module, x: torch.Tensor) -> object:
    """One call with its gradients."""

    def call() -> torch.Tensor:
        y = layer(x)
        y.square().mean().backward()
        return y.detach()

    return call


def group_rows() -> list[list[str]]:
    lines = []
    for fields, size, batch in ((8, 32, 4), (16, 16, 8)):
        layer = nn.GroupConv2d(fields, fields, 3, "p4m", padding=1)
        x = torch.randn(batch, fields * 8, size, size)
        wide = torch.nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1)
        calls = {
            "ours": trained(layer, x),
            "stacked in torch": trained(Stacked(layer), x),
            "plain of as many values": trained(wide, x),
        }
        frozen = layer.freeze()
        times, results = timing.interleaved(calls)
        assert (results["ours"] - results["stacked in torch"]).abs().max() < 1e-4
        with torch.no_grad():
            still, _ = timing.interleaved({"layer": lambda l=layer, x=x: l(x), "frozen": lambda f=frozen, x=x: f(x)})
        what = f"p4m, {fields} → {fields} fields, 3 × 3, {batch} images of {size}²"
        ours = times["ours"]
        lines += [[what, "training step", timing.span(ours), p, f"{times[p] / ours:.2f}"] for p in list(calls)[1:]]
        lines.append(
            [what, "inference", timing.span(still["layer"]), "frozen", f"{still['frozen'] / still['layer']:.2f}"]
        )
    return lines


class Turned(torch.nn.Module):
    """A group convolution of any taps by irreducible blocks: windows gathered so that every tap is one along the group."""

    def __init__(self, layer: nn.GroupConv2d) -> None:
        super().__init__()
        self.taps, self.order = layer.kernel_size[0], layer.acting.order
        moved = torch.from_numpy(layer.acting.moved(layer.kernel_size))  # (element, tap): where the tap goes
        psi = layer.weight.detach().unflatten(2, (self.order, self.taps**2))
        elements = torch.arange(self.order)[:, None]
        self.weight = psi[:, :, elements, moved].transpose(2, 3).flatten(1, 2)  # (out, in · taps, element)
        self.product, self.moved = GroupProduct(layer.acting.group), moved

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        windows = torch.nn.functional.unfold(x, self.taps, padding=self.taps // 2)
        each = windows.reshape(x.shape[0], -1, self.order, self.taps**2, windows.shape[2])
        turned = each[:, :, torch.arange(self.order)[:, None], self.moved].transpose(2, 3).flatten(1, 2)
        return self.product(turned, self.weight).reshape(x.shape[0], -1, *x.shape[2:])


def block_rows() -> list[list[str]]:
    """Kernels of one and of nine taps by blocks, beside the plain convolution with the whole kernel made once."""
    lines = []
    for group, fields, taps, size, batch in (
        ("p4", 32, 1, 16, 4), ("p4m", 8, 1, 32, 2), ("p4m", 16, 1, 16, 4), ("p4m", 32, 1, 16, 4), ("p4m", 64, 1, 16, 2),
        ("p4m", 16, 3, 16, 4), ("p4m", 64, 3, 16, 2),
    ):  # fmt: skip
        method = "blocks" if taps == 1 else "plain"
        layer = nn.GroupConv2d(fields, fields, taps, group, padding=taps // 2, bias=False, method=method)
        x = torch.randn(batch, layer.in_channels, size, size)
        blocks, frozen = layer if taps == 1 else Turned(layer), layer.freeze()
        with torch.no_grad():
            times, results = timing.interleaved(
                {"blocks": lambda b=blocks, x=x: b(x), "frozen": lambda f=frozen, x=x: f(x)}
            )
        assert (results["blocks"] - results["frozen"]).abs().max() < 1e-4
        what = f"{group}, {fields} → {fields} fields, {taps} × {taps}, {batch} images of {size}²"
        lines.append([what, timing.span(times["blocks"]), f"{times['frozen'] / times['blocks']:.2f}"])
    return lines


def escnn_rows() -> list[list[str]]:
    """Whether escnn's kernels are ours, fibre by fibre, and what a training step takes; nothing where it is not installed."""
    for name in ("irrep_bases", "wigner_d", "spherical_harmonics", "pinchon_hoggan.pinchon_hoggan_dense"):
        parts = ["lie_learn", "representations", "SO3", *name.split(".")]
        for n in range(len(parts)):
            whole = ".".join(parts[: n + 1])
            sys.modules.setdefault(whole, Absent(whole))
    sys.modules.setdefault("py3nj", Absent("py3nj"))
    try:
        from escnn import gspaces
        from escnn import nn as peer
    except ImportError:
        return []
    lines = []
    spaces = {"p4": gspaces.rot2dOnR2(4), "p4m": gspaces.flipRot2dOnR2(4), "c8": gspaces.rot2dOnR2(8)}
    for group, space in spaces.items():
        start = time.perf_counter()
        fields = peer.FieldType(space, [space.regular_repr] * 8)
        theirs = peer.R2Conv(fields, fields, 5, padding=2)
        built = time.perf_counter() - start
        start = time.perf_counter()
        ours = nn.GroupConv2d(8, 8, 5, group, padding=2, filters="harmonics" if group == "c8" else "taps")
        ready = time.perf_counter() - start
        kernel, bias = theirs.eval().expand_parameters()
        ours.take(kernel.detach(), bias.detach())
        off = ((ours.kernel() - kernel).abs().max() / kernel.abs().max()).item()
        x = torch.randn(2, ours.in_channels, 24, 24)
        theirs.train()
        calls = {
            "ours": trained(ours, x),
            "escnn": trained(lambda x, p=theirs, f=fields: p(peer.GeometricTensor(x, f)).tensor, x),
        }
        times, _ = timing.interleaved(calls)
        lines.append(
            [
                group,
                f"{off:.0e}",
                timing.span(ready),
                f"{built / ready:.0f}",
                timing.span(times["ours"]),
                f"{times['escnn'] / times['ours']:.2f}",
            ]
        )
    return lines


class Absent(types.ModuleType):
    """A module of which every name can be imported and nothing be called."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def sphere_calls(l: int, peer: bool) -> tuple[dict, bool]:
    """Calls by name for features of all degrees up to l, and whether e3nn's is still to be built for the next degree."""
    size = (l + 1) ** 2
    x, y, edge = torch.randn(EDGES, size, CHANNELS), torch.randn(EDGES, size, CHANNELS), torch.randn(EDGES, 3)
    grid, apart = (nn.GauntProduct(CHANNELS, l, l, l, method=m) for m in ("grid", "separable"))
    whole = nn.GauntProduct(CHANNELS, l, l, l, method="separable", couplings="all")
    bodies = nn.GauntPower(CHANNELS, l, 3, method="separable")
    conv = nn.SO2Conv(CHANNELS, CHANNELS, l, l)
    frame = conv.frame(edge)
    calls = {
        "Gaunt, grid": lambda: grid(x, y), "Gaunt, separable": lambda: apart(x, y),
        "Gaunt and bracket, separable": lambda: whole(x, y), "three bodies, separable": lambda: bodies(x),
        "SO(2), new edges": lambda: conv(x, edge), "SO(2), known edges": lambda: conv.mix(x, frame),
    }  # fmt: skip
    if not peer:
        return calls, False
    start = time.perf_counter()
    for name, even in (("e3nn, all paths", False), ("e3nn, even paths", True)):
        calls[name] = e3nn_call(l, even)
        calls[name]()
    return calls, time.perf_counter() - start < STOP


def e3nn_call(l: int, even: bool) -> object:
    from e3nn import o3

    irreps = o3.Irreps([(CHANNELS, (k, (-1) ** k)) for k in range(l + 1)])
    both = [(a, b, c) for a in range(l + 1) for b in range(l + 1) for c in range(abs(a - b), min(a + b, l) + 1)]
    both = [(a, b, c) for a, b, c in both if not even or (a + b + c) % 2 == 0]
    out = o3.Irreps([(CHANNELS, (c, (-1) ** (a + b))) for a, b, c in both])
    instructions = [(a, b, n, "uuu", True) for n, (a, b, _) in enumerate(both)]
    product = o3.TensorProduct(irreps, irreps, out, instructions)
    x, y = irreps.randn(EDGES, -1), irreps.randn(EDGES, -1)
    return lambda: product(x, y)


def drawn(found: dict[str, dict[int, float]]) -> None:
    """Milliseconds over the degree, both logarithmic, with a line of slope 3."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.2))
    for name, times in found.items():
        axes.loglog([l + 1 for l in times], [1e3 * t for t in times.values()], "o-", label=name, markersize=4)
    last = found["Gaunt, separable"]
    top = max(last)
    axes.loglog([3, top + 1], [1e3 * last[top] * (3 / (top + 1)) ** 3, 1e3 * last[top]], "k:", label="slope 3")
    axes.set(
        xlabel="L + 1",
        ylabel=f"ms for {EDGES} pairs, {CHANNELS} channels",
        title="Products of spherical features up to degree L",
    )
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3, which="both")
    figure.tight_layout()
    figure.savefig(PICTURE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=14)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    groups, blocks, agreed, found, peer = group_rows(), block_rows(), escnn_rows(), {}, True
    with torch.no_grad():
        for l in (1, 2, 3, 4, 6, 8, 10, 12, 14):
            if l > chosen.most:
                break
            calls, peer = sphere_calls(l, peer)
            times = timing.shortest(calls, 4.0, lost=math.inf)
            for name, seconds in times.items():
                found.setdefault(name, {})[l] = seconds
    degrees = sorted(found["Gaunt, grid"])
    lines = [
        [name, *(f"{1e3 * times[l]:.2f}" if l in times else "—" for l in degrees)] for name, times in found.items()
    ]
    slopes = {}
    for name, times in found.items():
        low, high = 4 if max(times) > 4 else 1, max(times)
        if high > low:
            slopes[name] = math.log(times[high] / times[low]) / math.log((high + 1) / (low + 1))
    said = ", ".join(f"{name} {slope:.1f}" for name, slope in slopes.items())
    beside = ""
    if agreed:
        header = ("group", "kernels differ by", "built in", "escnn / ours", "training step", "escnn / ours")
        beside = f"""
## Beside escnn

8 → 8 regular fields, 5 × 5, 2 images of 24². escnn's expanded kernel, projected to ours, stays what it is: fibres and elements are
in the same order. Kernels of c8 are circular harmonics.

{timing.rows(header, agreed)}
"""
    text = f"""# Layers of symmetry

{timing.cpu()}, {chosen.threads} threads, `python benchmarks/symmetry.py`

## Group convolution

{timing.rows(("problem", "what", "ours", "peer", "peer / ours"), groups)}

## Along the group by irreducible blocks

Convolution along the group at every place: 12 products for a pair of p4m fields in place of 64. Inference, beside the plain
convolution with the whole kernel made once. With nine taps every value gathers and transforms nine turned windows, so that the
layer has blocks for one tap only.

{timing.rows(("problem", "blocks", "plain / blocks"), blocks)}
{beside}
## Spherical features

Shortest milliseconds for {EDGES} pairs of features with {CHANNELS} channels, all degrees up to L, forward, float32. Gaunt's
product has the couplings of even parity, with the bracket all; SO(2) blocks are all couplings with harmonics of an edge and
mix the channels as well; e3nn's is the full product of all paths, one weight each and channel by channel, or of its even
paths only, left out beyond the degree that takes {STOP:.0f} s to build.

{timing.rows(("product", *(f"L = {l}" for l in degrees)), lines)}

Exponents of L + 1, from L = 4 (or 1) to the largest: {said}.
"""
    if chosen.most < 14:
        print(text)
    else:
        drawn(found)
        timing.write("symmetry", text)


if __name__ == "__main__":
    main()
