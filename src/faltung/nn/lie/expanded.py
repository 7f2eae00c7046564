"""The kernel of a convolution over a matrix group by its formula, slowly: what the layers are held against."""

import cmath
import math
from typing import Any

import torch
from torch import Tensor


def coordinates_of(g: Tensor, group: Any) -> Tensor:
    """The coordinates of one element: eigenvalues of g·gᵀ for the stretch, eigenvectors of the rotation for its logarithm."""
    values, vectors = torch.linalg.eigh(g @ g.T)
    half = sum(torch.outer(v, v) * math.log(float(e)) / 2 for e, v in zip(values, vectors.T, strict=True))
    turn = sum(torch.outer(v, v) / math.sqrt(float(e)) for e, v in zip(values, vectors.T, strict=True)) @ g
    if group.n == 2:
        angle = cmath.phase(complex(float(turn[0, 0]), float(turn[1, 0])))
        skew = group.skew[0] * (angle if angle > 1e-6 - math.pi else angle + 2 * math.pi)
    else:
        roots, basis = torch.linalg.eig(turn.to(torch.complex128))
        skew = (basis @ torch.diag(roots.log()) @ torch.linalg.inv(basis)).real
    found = [group.alpha * float((half * b).sum()) for b in group.symmetric]
    return torch.tensor([*found, *(float((skew * c).sum()) / 2 for c in group.skew)], dtype=torch.float64)


def by_elements(layer: Any) -> Tensor:
    """Every entry of the kernel from its own coordinates."""
    samples, sizes, net = layer.samples, layer.kernel_size, layer.kernel_net
    elements = list(samples.elements.double())
    spots = [[layer.reach * (2 * i / (n - 1) - 1) if n > 1 else 0.0 for i in range(n)] for n in sizes]
    taps = torch.cartesian_prod(*(torch.tensor(s, dtype=torch.float64) for s in spots)).reshape(-1, len(sizes))
    shares = samples.read("shares").double()
    rows = []
    for g in elements:
        columns = []
        for number, other in enumerate([None] if layer.lifts else elements):
            factor = 1 / abs(float(torch.linalg.det(g if other is None else other)))
            relative = [] if other is None else coordinates_of(torch.linalg.inv(g) @ other, samples.group).tolist()
            factor *= 1.0 if other is None else float(shares[number])
            values = []
            for t in taps:
                place = torch.linalg.solve(g, t)
                radius = math.sqrt(sum(float(p) ** 2 for p in place))
                window = {
                    "disc": float(radius <= 1 + 1e-5),
                    "soft": 1 / (1 + math.exp(-2 * (1 - radius))),
                    "none": 1.0,
                }[layer.support]
                at = torch.tensor([*place.tolist(), *relative], dtype=layer.kernel_net.last.weight.dtype)
                values.append(net.definition(at[None])[0] * window * factor)
            columns.append(torch.stack(values, -1))
        rows.append(torch.stack(columns, 1))  # (o·i, g̃, t)
    kernel = torch.stack(rows, 1).unflatten(0, (layer.out_fields, -1))  # (o, i, g, g̃, t)
    return kernel.transpose(1, 2).reshape(layer.weight_shape)
