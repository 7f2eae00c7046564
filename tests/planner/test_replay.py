"""Plans of the benchmark corpus stay what they were unless somebody keeps new ones: the guard against slow regressions."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("torch")
HOME = Path(__file__).parents[2] / "benchmarks" / "plans.py"
spec = importlib.util.spec_from_file_location("plans", HOME)
plans = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plans)


@pytest.mark.parametrize("machine", plans.MACHINES)
def test_plans_are_those_that_were_kept(machine):
    changed = plans.differences(machine)
    assert not changed, "\n".join([*changed, "look at each, then keep them: python benchmarks/plans.py --write"])


def test_a_changed_plan_is_seen(tmp_path, monkeypatch):
    name = next(iter(plans.MACHINES))
    kept = plans.path_of(name).read_text().splitlines()
    assert len(kept) > 150
    monkeypatch.setattr(plans, "path_of", lambda _: tmp_path / "kept.txt")
    kept[3] = kept[3].rpartition(" | ")[0] + " | definition"
    (tmp_path / "kept.txt").write_text("\n".join(kept))
    changed = plans.differences(name)
    assert any(line.startswith("-") and "definition" in line for line in changed)
