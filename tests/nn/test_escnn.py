"""Agreement with escnn 1.0.11: kernels that it drew lie in our spaces of kernels, in our order of elements and our phases.

`escnn.json` holds what `R2Conv(...).expand_parameters()` gave for named types of fields, to seven digits; escnn itself needs
compiled packages that are no part of development here. Conventions that meet: turns go against the clock (x to the right, y
upwards), a field of frequency m has the numbers (cos mα, sin mα), the elements of D₄ are turns and then mirrored turns, the first
mirror x to −x; for O(2) escnn is asked for the mirror y to −y (`axis=0`), which leaves these numbers' first alone.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from faltung import nn
from faltung.nn.symmetry.irreps import irreps

KERNELS = {
    name: torch.tensor(w, dtype=torch.float64)
    for name, w in json.loads(Path(__file__).with_name("escnn.json").read_text()).items()
}


@pytest.mark.parametrize("name", [name for name in KERNELS if name.startswith("p4")])
def test_kernels_on_groups_are_ours(name):
    group, source = name.split(":")[0], name.split()[1]
    layer = nn.GroupConv2d(1, 1, 3, group, source, bias=False, dtype=torch.float64)
    layer.take(KERNELS[name])
    assert KERNELS[name].abs().max() > 0.3
    torch.testing.assert_close(layer.effective_kernel(), KERNELS[name], rtol=0, atol=2e-7)
    mixed = KERNELS[name][[1, 0, *range(2, len(KERNELS[name]))]]
    assert (layer.take(mixed).effective_kernel() - mixed).abs().max() > 0.1, "another order of elements is not"


@pytest.mark.parametrize("name", [name for name in KERNELS if name[1] == "2"])
def test_kernels_of_fields_turn_as_ours(name):
    """`ρ_out(φ)ᵀ κ(r, φ) ρ_in(φ)` is one matrix for all taps of a radius, whatever their angles, with our matrices."""
    group, text = name.split(": ")
    source, target = (irreps(part, group) for part in text.split(" -> "))
    kernel, by_radius = KERNELS[name].numpy(), {}
    for row, column in np.ndindex(5, 5):
        x, y = column - 2, 2 - row
        c, s = np.array([x, y]) / max(np.hypot(x, y), 1e-9)
        if (x, y) != (0, 0):
            turn = np.array([[c, -s], [s, c]])
            still = target.matrix(turn).T @ kernel[:, :, row, column] @ source.matrix(turn)
            by_radius.setdefault(x * x + y * y, []).append(still)
    assert [len(taps) for taps in by_radius.values()] == [4, 8, 4, 4, 4]
    for taps in by_radius.values():
        assert np.ptp(taps, axis=0).max() < 1e-6
    assert max(np.abs(taps[0]).max() for taps in by_radius.values()) > 0.1
    if group == "o2":  # and the mirror y to −y
        mirror = np.diag([1.0, -1.0])
        wanted = target.matrix(mirror) @ kernel.transpose(2, 3, 0, 1) @ source.matrix(mirror)
        assert np.abs(wanted - kernel[:, :, ::-1].transpose(2, 3, 0, 1)).max() < 1e-6
