"""One model with learnt positions and long filters: each parameter in one group, with the rate that its kind wants."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from faltung import nn
from faltung.nn.sequence import StateSpaceConv1d

PARTS = (
    lambda: nn.DCLSConv(1, 2, 2, 3, 9), lambda: nn.Delay1d(2, 2, 5), lambda: StateSpaceConv1d(2, state=4),
    lambda: StateSpaceConv1d(2, state=4, method="krylov"), lambda: torch.nn.Conv1d(2, 2, 3), torch.nn.ReLU,
)  # fmt: skip


@given(st.lists(st.sampled_from(PARTS), max_size=5), st.floats(0.5, 200), st.none() | st.floats(1e-6, 1))
def test_every_parameter_is_in_one_group_with_the_rate_of_its_kind(parts, times, at_most):
    model = torch.nn.Sequential(*(part() for part in parts))
    groups = nn.param_groups(model, times, at_most)
    assert all(group["params"] for group in groups)
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(id(p) for p in model.parameters())
    if not groups:
        return
    optimizer = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.05)
    found = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    most = float("inf") if at_most is None else at_most
    for layer in model:
        rates = layer.constructor.learning_rates if isinstance(layer, StateSpaceConv1d) else {}
        for name, p in layer.named_parameters():
            short = name.rpartition(".")[2]
            wanted = (0.01 * times, 0.0) if short == "positions" else (min(rates.get(short, 0), most), 0.0)
            assert found[id(p)] == (wanted if short == "positions" or short in rates else (0.01, 0.05)), name
