"""Faults that a whole network has, planted and caught by name; the network without the fault is not accused of it."""

import pytest
import torch
from torch import nn

from faltung.readers import read
from faltung.report import inspect
from faltung.report.report import found_by
from faltung.report.section import Subject
from faltung.report.sections import ALL

BOUND_ELSEWHERE = {  # where each rule's planted fault stands, if not here
    "test_report": (
        "P1",
        "P2",
        "F1",
        "F2",
        "F3",
        "F4",
        "F5",
        "S1",
        "S2",
        "A1",
        "A3",
        "A4",
        "E3",
        "E4",
        "N1",
        "N2",
        "N3",
    ),
    "test_levels": ("A2", "R2", "E5", "E6", "N4", "N5", "G1"),
}


class Attending(nn.Module):
    """Patches that look at one another, or not."""

    def __init__(self, attends):
        super().__init__()
        self.embed, self.attends = nn.Conv2d(3, 8, 4, 4), attends
        self.attend, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 5)

    def forward(self, x):
        y = self.embed(x).flatten(2).transpose(1, 2)
        y = y + self.attend(y, y, y, need_weights=False)[0] if self.attends else y
        return self.head(y.mean(1))


def deep(side):
    """Twelve layers of three taps on so many places."""
    layers = [layer for _ in range(12) for layer in (nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*layers), torch.zeros(1, 3, side, side)


def wide(channels):
    """A layer that is too wide for a tight norm, or not."""
    return nn.Sequential(nn.Conv2d(channels, channels, 3)), torch.zeros(1, channels, 4, 4)


def long(taps):
    """A filter that Fourier transforms do best, or not."""
    return nn.Sequential(nn.Conv1d(1, 1, taps, bias=False)), torch.zeros(1, 1, 1 << 15)


# (with the fault, without it, level, where)
PLANTED = {
    "C1": ((Attending(True), torch.randn(1, 3, 16, 16)), (Attending(False), torch.randn(1, 3, 16, 16)), "standard",
           "attend.scaled_dot_product_attention"),
    "R1": (deep(8), deep(64), "fast", "22"),
    "S3": (wide(136), wide(16), "standard", "0"),
    "E1": ((nn.Sequential(nn.Conv2d(1, 1, 1)), torch.zeros(1, 1, 2, 2)), None, "full", "0"),
    "E2": (long(4001), None, "full", "0"),
}  # fmt: skip


def where(pair, level, rule):
    torch.manual_seed(0)
    model, x = pair
    if level != "full":
        return [layer for f in inspect(model.eval(), x, level=level, rules=[rule]).findings for layer, _ in f.where]
    section = next(s for s in ALL if any(r.id == rule for r in s.rules))  # alone: nothing else is timed
    values = section.fill(Subject(read(model.eval(), x), level, model, x))
    return [layer for f in found_by([section], values, [rule]) for layer, _ in f.where]


@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_fault_of_a_network_is_caught_by_name(rule):
    faulty, sound, level, layer = PLANTED[rule]
    assert layer in where(faulty, level, rule)
    assert sound is None or layer not in where(sound, level, rule)  # how long a sound layer takes is no law


def test_a_layer_sees_nothing_new_only_behind_those_that_saw_all():
    assert where(deep(8), "fast", "R1") == [str(2 * n) for n in range(4, 12)]  # 1 + 2 · 4 ≥ 8


def test_every_rule_is_planted_somewhere():
    told = {*PLANTED, *(rule for rules in BOUND_ELSEWHERE.values() for rule in rules)}
    assert told == {rule.id for section in ALL for rule in section.rules}


def test_a_step_without_a_bound_does_not_hide_the_kernels_of_its_module():
    torch.manual_seed(0)
    model = Attending(True).eval()
    rows = inspect(model, torch.randn(1, 3, 16, 16), level="standard").layers
    norm = torch.linalg.matrix_norm(model.attend.in_proj_weight, 2).item()
    assert rows["attend"]["factor"] == pytest.approx(norm, rel=1e-5)
    assert rows["attend"]["running"] < float("inf") == rows["head"]["running"]


def test_the_pad_of_a_module_counts_in_its_factor():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv1d(1, 1, 5, padding=2, padding_mode="replicate")).eval(), torch.randn(1, 1, 12)
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(5)[:1, None])
    assert inspect(model, x, level="standard").layers["0"]["factor"] == pytest.approx(3**0.5, rel=0.2)
