"""No look changes the model: values bit for bit, modes, hooks, attributes, gradients, and everybody's random numbers."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from faltung import look

sys.path.insert(0, str(Path(__file__).parent))
from architectures import Small

X = torch.randn(8, 2, 8, 8, generator=torch.Generator().manual_seed(0))


class Classes(torch.nn.Module):
    """The small network with a denoiser beside it and hooks of somebody else's."""

    def __init__(self):
        super().__init__()
        self.body = Small(2)
        self.plain = torch.nn.Sequential(
            torch.nn.Conv2d(2, 2, 3, padding=1), torch.nn.BatchNorm2d(2), torch.nn.ReLU(inplace=True)
        )
        self.calls = 0
        self.body.register_forward_hook(lambda *a: None)

    def forward(self, x):
        self.calls += 1
        return self.body(torch.nn.functional.dropout(self.plain(x), 0.5, self.training))


LOOKS = {
    "filters": lambda m: look.filters(m, X),
    "counts": lambda m: look.counts(m, X),
    "receptive_field": lambda m: look.receptive_field(m, X, layers=["body.up"]),
    "probed_field": lambda m: look.probed_field(m.plain, X),
    "effective": lambda m: look.effective_receptive_field(m.plain, X),
    "spectrum": lambda m: look.spectrum(m, X, fold=True),
    "aliasing": lambda m: look.aliasing(m, X),
    "shift_consistency": lambda m: look.shift_consistency(m, X, pairs=1),
    "shift_adversary": lambda m: look.shift_adversary(m, X, 1, crop=6),
    "embedding_shift_rate": lambda m: look.embedding_shift_rate(m, X, (0, 1)),
    "borders": lambda m: look.border_influence(m, X),
    "efficiency": lambda m: look.efficiency(m, X, roof=look.Roof(1e11, 1e10), measure=True, repeats=1),
    "atlas": lambda m: look.kernel_atlas(m, X, dense=True),
    "linearize": lambda m: look.linearize(m, X).rmatvec(torch.ones(8, 5)),
    "secant": lambda m: look.linearize(m.plain, X, "secant").matvec(X),
    "cam": lambda m: look.cam(m, X, layer="body.up"),
    "faithfulness": lambda m: look.faithfulness(m, X, X[:, 0], "road", steps=2),
    "patterns": lambda m: look.mined_patterns(m, X, [0, 1] * 4, "body.up"),
    "ranges": lambda m: look.ranges(m, X),
    "profile": lambda m: look.representation_profile(m, X),
    "denoiser": lambda m: look.denoiser_modes(m.plain, X[:1], 2, exact=8, probes=2),
    "footprint": lambda m: look.footprint(m.plain, X[:1], (1, 1)),
    "upsampling": lambda m: look.upsampling_artifacts(m, X),
    "decoder": lambda m: look.decoder_spectrum(m, X),
}  # fmt: skip


def everything(model):
    """All that a look could leave behind, as plain values."""
    return {
        "state": {k: v.clone() for k, v in model.state_dict().items()},
        "modes": [m.training for m in model.modules()],
        "attributes": [
            {k: (id(v), repr(dict(v)) if "hooks" in k else None) for k, v in m.__dict__.items()}
            for m in model.modules()
        ],
        "calls": model.calls,
        "gradients": [None if p.grad is None else (id(p.grad), p.grad.clone()) for p in model.parameters()],
        "asked": [p.requires_grad for p in model.parameters()],
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].copy(),
        "python": random.getstate(),
        "threads": torch.get_num_threads(),
        "grad": torch.is_grad_enabled(),
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_leaves_the_model_alone(name):
    torch.manual_seed(0)
    model = Classes().train()
    model.body.norm.eval()
    model.plain[0].weight.grad = torch.ones_like(model.plain[0].weight)
    model.plain[0].bias.requires_grad_(False)
    before, signal = everything(model), X.clone()
    LOOKS[name](model)
    after = everything(model)
    assert [key for key in before if not same(before[key], after[key])] == []
    assert torch.equal(X, signal)


def test_the_comparison_sees_changes():
    model = Classes().train()
    before = everything(model)
    model(X)
    changed = [key for key in before if not same(before[key], everything(model)[key])]
    assert {"state", "calls", "torch"} <= set(changed)


def test_every_look_is_tried():
    models = {
        "filters", "counts", "receptive_field", "probed_field", "effective_receptive_field", "spectrum", "aliasing",
        "shift_consistency", "border_influence", "efficiency", "kernel_atlas", "linearize", "cam", "faithfulness", "ranges",
        "representation_profile", "denoiser_modes", "footprint", "upsampling_artifacts",
        "shift_adversary", "embedding_shift_rate", "mined_patterns",
    }  # fmt: skip
    assert len(models) <= len(LOOKS)
    assert models <= set(look.__all__)
