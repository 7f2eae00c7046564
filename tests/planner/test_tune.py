"""Measuring the machine: every line runs by its method, rates that made the times are found again, drawn problems stay drawn."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from faltung.errors import FaltungError
from faltung.planner import machine as machines
from faltung.planner import tune
from faltung.planner.choose import planned_on
from faltung.planner.drawn import BYTES, LEAST, draw
from faltung.planner.fit import Timed, fitted, regret
from faltung.planner.policy import Policy
from faltung.planner.tune_lines import every_kind
from faltung.problem import Problem

LINES = every_kind(torch=True)
SHIPPED = machines.shipped()["rates"]


@pytest.mark.parametrize(("method", "line"), [case for case in LINES if Problem.parse(case[1]).macs < 2e6])
def test_small_lines_run_by_the_method_that_they_measure(method, line):
    plan, operands = tune.ready(Problem.parse(line), Policy(only=(method,)))
    assert plan.method == method
    assert plan(**operands).shape == plan.problem.out_shape


@pytest.mark.slow
def test_every_line_runs_by_its_method():
    for method, line in LINES:
        plan, operands = tune.ready(Problem.parse(line), Policy(only=(method,)))
        assert plan.method == method
        plan(**operands)


def test_lines_need_torch_only_where_it_is_at_hand():
    assert all(Problem.parse(line).host == "numpy" for _, line in every_kind(torch=False))


def test_the_lines_measure_what_costs_of_drawn_problems_hang_on():
    asked = set()
    for method, line in LINES:
        timed = Timed(planned_on(Problem.parse(line), Policy(only=(method,)), machines.this_machine()), 1.0)
        asked |= {name for name in SHIPPED if timed.cost({**SHIPPED, name: 2 * SHIPPED[name]}) != timed.cost(SHIPPED)}
    families = {name.partition(".")[0] for name in asked}
    assert families >= {
        "rows",
        "blocks",
        "lanes",
        "ring",
        "indirect",
        "winograd",
        "onednn",
        "passes",
        "ntt",
        "walsh",
        "call",
    }


def problems(count, seed="test of fits"):
    """Plans of all ways of drawn problems."""
    here, found = machines.this_machine(), []
    for number in range(count):
        problem, ways = draw(seed, number, 1e8)[2], {}
        for name in ("direct", "blocks", "overlap", "negacyclic", "fft", "indirect", "onednn"):
            try:
                plan = planned_on(problem, Policy(only=(name,)), here)
            except FaltungError:  # this method cannot
                continue
            ways[tuple(tune._names(plan))] = plan
        found.append(list(ways.values()))
    return found


def another_machine(spread):
    """Rates of a machine 1.7 times as slow, some kinds of work more, some less."""
    r = random.Random(5)
    return {name: rate * 1.7 * math.exp(r.gauss(0, spread)) for name, rate in SHIPPED.items()}


@pytest.fixture(scope="module")
def ways():
    return problems(60)


@pytest.mark.parametrize("noise", [0.0, 0.15])
def test_choices_of_fitted_rates_are_as_good_as_those_of_the_true_ones(ways, noise):
    true, r = another_machine(0.5), random.Random(7)
    times = [[Timed(p, Timed(p, 0).cost(true) * math.exp(r.gauss(0, noise))) for p in group] for group in ways]
    known = {"copy": true["copy"], "thread": true["thread"], "team": true["team"]}
    found = fitted(SHIPPED, known, [t for group in times[::2] for t in group])
    judged = times[1::2]  # not fitted on
    assert regret(judged, found) < 1 + 0.4 * (regret(judged, SHIPPED) - 1)
    errors = [math.log(t.cost(found) / t.seconds) for group in judged for t in group]
    before = [math.log(t.cost(SHIPPED) / t.seconds) for group in judged for t in group]
    assert np.median(np.abs(errors)) < 0.35 * np.median(np.abs(before))


def test_a_disturbed_time_counts_little(ways):
    true = another_machine(0.0)
    times = [Timed(p, Timed(p, 0).cost(true)) for group in ways for p in group]
    times[::15] = [replace(t, seconds=40 * t.seconds) for t in times[::15]]
    found = fitted(SHIPPED, {}, times)
    errors = [abs(math.log(t.cost(found) / t.cost(true))) for t in times]
    assert np.median(errors) < 0.1


def test_rates_that_no_time_tells_of_follow_the_speed_of_the_machine_but_for_devices(ways):
    true = another_machine(0.0)
    found = fitted(
        SHIPPED, {"copy": SHIPPED["copy"]}, [Timed(p, Timed(p, 0).cost(true)) for group in ways for p in group]
    )
    assert found["karatsuba.object"] == pytest.approx(1.7 * SHIPPED["karatsuba.object"], rel=0.15)
    assert found["copy"] == pytest.approx(SHIPPED["copy"], rel=0.5)
    assert all(found[name] == SHIPPED[name] for name in SHIPPED if name.startswith(("gpu.", "cudnn.", "compile.")))


def test_regret_is_the_time_lost_by_choices(ways):
    plans = next(group for group in ways if len(group) > 1)
    costs = [Timed(p, 0).cost(SHIPPED) for p in plans]
    chosen = costs.index(min(costs))
    times = [Timed(p, 2.0 if n == chosen else 1.0) for n, p in enumerate(plans)]
    assert regret([times], SHIPPED) == pytest.approx(2.0)
    assert regret([times, times[:1]], SHIPPED) == pytest.approx(2.0)  # where there is no choice, none is counted


def test_drawn_problems_are_the_same_again_and_of_the_sizes_asked_for():
    drawn = [draw(3, number, 1e7) for number in range(60)]
    assert [d[2].text for d in drawn] == [draw(3, number, 1e7)[2].text for number in range(60)]
    assert [d[2].text for d in drawn] != [draw(4, number, 1e7)[2].text for number in range(60)]
    assert {kind for kind, *_ in drawn} >= {"image", "signal", "volume", "dense", "depthwise"}
    for _, _, problem in drawn:
        assert LEAST <= problem.macs <= 1e7
        assert 8 * sum(math.prod(s) for s in (problem.x_shape, problem.k_shape, problem.out_shape)) <= BYTES


@pytest.mark.slow
def test_tuning_writes_a_profile_that_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(machines, "profile_path", lambda: tmp_path / "profile.json")
    monkeypatch.setattr(tune, "DRAWN", 6)
    said = []
    try:
        path = tune.tune(lambda share, what: said.append(share))
        assert path == tmp_path / "profile.json"
        assert machines.this_machine().origin.startswith("measured on")
        assert set(machines.this_machine().rates) >= set(SHIPPED)
        assert said == sorted(said)
        assert said[-1] == 1.0
    finally:
        machines.this_machine.cache_clear()
