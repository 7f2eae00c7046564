"""The planner chooses purely, keeps what the policy asks, never substitutes, and reads wisdom only where it fits."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import faltung
from faltung import Policy, Problem, Spec, convolve, explain, methods, plan
from faltung.errors import ArgumentError, MemoryBudgetError, RefusedError
from faltung.planner import plan_problem, this_machine, wisdom
from faltung.planner.choose import planned_on
from faltung.testing.problems import draw

IMAGE = Problem.parse(
    'convolve "*s, *s -> *s" x=200x210:float32 k=5x5:float32 out=float32 pad=2:2,2:2 boundary=constant,constant'
)
LAYER = Problem.parse(
    'correlate "b c *s, o c *s -> b o *s" x=2x16x32x32:float32 k=16x16x3x3:float32 '
    "out=float32 pad=1:1,1:1 boundary=constant,constant"
)
POLICIES = (
    Policy(),
    Policy(tolerance=1e-6, memory=2**30, deterministic=False, only=("fft", "direct"), without=("winograd",), threads=2),
    Policy(only="direct"),
    Policy(without=("fft", "overlap")),
    Policy(threads=1),
    Policy(tolerance=2**-20),
)


# -- the same question, the same plan ---------------------------------------------------------------------------------------


def test_the_same_question_has_the_same_plan():
    assert plan_problem(IMAGE) is plan_problem(Problem.parse(IMAGE.text))
    assert plan_problem(IMAGE, Policy(only="fft")) is plan_problem(IMAGE, Policy(only=("fft",)))
    x, k = np.ones((9, 8)), np.ones((3, 2))
    assert plan(x, k) is plan(x + 1, k * 0) is plan(Spec((9, 8)), Spec((3, 2)))
    assert plan(x, k) is not plan(x, k, mode="same")
    assert plan(x, k) is not plan(x, k, flip=False)
    assert explain(x, k) is plan(x, k)


def test_choosing_looks_at_no_clock_and_draws_no_lots(monkeypatch):
    before = {seed: _summary(draw(seed)) for seed in range(60)}
    planned_on.cache_clear()
    import random
    import time

    def forbidden(*args, **kwargs):
        raise AssertionError("a plan asked the clock or the dice")

    for module, names in (
        (time, ("time", "perf_counter", "monotonic", "process_time")),
        (random, ("random", "randint", "choice")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, forbidden)
    after = {seed: _summary(draw(seed)) for seed in range(60)}
    monkeypatch.undo()
    assert after == before


def _summary(problem):
    p = plan_problem(problem)
    return [(c.method.name, c.refusal, c.cost, c.error, c.scratch) for c in p.candidates], p.method


def test_a_repeated_call_reaches_the_plan_without_planning():
    """Counted, not timed: the second call makes few Python calls and none of them plans."""
    x, k = np.ones(64), np.ones(3)
    for _ in range(3):
        convolve(x, k)
    seen = []

    def watch(frame, event, arg):
        if event == "call":
            seen.append(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")

    sys.setprofile(watch)
    try:
        convolve(x, k)
    finally:
        sys.setprofile(None)
    assert not [
        name
        for name in seen
        if "choose.py" in name or "problem.py:checked" in name or name.endswith("pattern.py:parse")
    ]
    assert len(seen) < 60, seen


def test_the_cheapest_method_that_fits_is_chosen():
    for seed in range(200):
        p = plan_problem(draw(seed))
        fit = [c for c in p.candidates if c.refusal is None and not c.method.structured]
        assert p.chosen is min(fit, key=lambda c: c.cost), p.problem.text
        assert all(c.cost < p.chosen.cost for c in p.structured)


# -- what the policy says ---------------------------------------------------------------------------------------------------


def planned(problem, policy):
    """The plan, or None and what was said instead."""
    try:
        return plan_problem(problem, policy), ""
    except RefusedError as error:
        return None, str(error)


@pytest.mark.parametrize("name", methods.BY_NAME)
def test_forced_runs_or_raises_with_its_sentence(name):
    verdicts = set()
    machine = "machine" in methods.named(name).arithmetics
    for seed in range(165):
        # A method for residues is asked for these in every other draw; the log semiring has draws of its own.
        problem = draw(seed) if machine or seed % 2 else draw(seed, algebra="modular(7)")
        problem = problem if seed < 150 else draw(seed, algebra="log")
        sentence = methods.named(name).refusal(problem)
        forced, refusal = planned(problem, Policy(only=name))
        if forced is None:
            assert sentence is None or f"{name}: {sentence}" in refusal
            verdicts.add("raises")
            continue
        inside = {forced.method} | {part.method for way in forced.ways for part in way.parts if way.method.delegates}
        assert name in inside, problem.text
        assert sentence is None or methods.named(forced.method).delegates
        verdicts.add("runs")
    # The problems are those of a grid, on NumPy arrays: methods of a GPU refuse them all, with that reason.
    served = "grid" in methods.named(name).places and not name.startswith("triton-")
    assert ("runs" in verdicts) == served
    assert "raises" in verdicts or name == "definition"


@pytest.mark.parametrize("name", methods.BY_NAME)
def test_forbidden_is_never_used(name):
    def used(p):
        return {w.method.name for w in p.ways} | {inner for w in p.ways for part in w.parts for inner in used(part)}

    for seed in range(150):
        problem = draw(seed)
        if name == "definition" or plan_problem(problem).method == name:
            p, refusal = planned(problem, Policy(without=(name,)))
            if p is None:
                assert f"{name}: the policy forbids it" in refusal or methods.named(name).refusal(problem)
                continue
            assert name not in used(p), problem.text
            assert p.refusals[name] == (methods.named(name).refusal(problem) or "the policy forbids it")


def test_several_methods_allowed_means_the_cheapest_of_them():
    p = plan_problem(IMAGE, Policy(only=("fft", "blocks", "definition")))
    costs = {name: plan_problem(IMAGE, Policy(only=name)).cost for name in ("fft", "blocks", "definition")}
    assert p.method == min(costs, key=costs.get)
    assert p.cost == min(costs.values())
    assert p.refusals["direct"] == "the policy allows only fft, blocks, definition"


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-6, 3e-7])
def test_no_method_above_the_tolerance_is_used(tolerance):
    for problem in (IMAGE, LAYER, LAYER.gradient("x"), LAYER.gradient("k")):
        try:
            p = plan_problem(problem, Policy(tolerance=tolerance))
        except RefusedError:
            continue
        assert all(w.error <= tolerance or w.method.name == "definition" for w in p.ways)
        for c in p.candidates:
            if c.refusal and "error bound" in c.refusal:
                assert c.error > tolerance
                assert f"above the tolerance {tolerance:.1e}" in c.refusal


def test_a_tolerance_only_narrows_the_choice():
    strict, usual = (plan_problem(LAYER, Policy(tolerance=t)) for t in (1e-6, None))
    assert set(usual.refusals) <= set(strict.refusals)
    assert set(usual.refusals) != set(strict.refusals)


@pytest.mark.parametrize("problem", [IMAGE, LAYER, LAYER.gradient("x")], ids=["image", "layer", "gradient"])
def test_no_method_above_the_memory_budget_is_used(problem):
    needs = sorted(c.scratch for c in plan_problem(problem).candidates if c.refusal is None)
    for budget in (needs[-1], needs[len(needs) // 2], needs[0]):
        p = plan_problem(problem, Policy(memory=budget))
        assert p.scratch <= budget
        for c in p.candidates:
            if c.refusal and "memory budget" in c.refusal and not c.refusal.startswith("a part of it"):
                assert c.scratch > budget
    with pytest.raises(MemoryBudgetError, match="the memory budget is"):
        plan_problem(problem, Policy(memory=needs[0] - 1))


def test_the_budget_is_for_what_lies_beside_operands_and_result():
    """A volume of 4 GiB passes by in tiles: a few megabytes suffice. In another dtype it has to be copied first."""
    volume, filter_ = Spec((1024,) * 3, "float32"), Spec((5,) * 3, "float32")
    p = plan(volume, filter_, mode="same", policy=Policy(memory=2**26))
    assert p.scratch <= 2**26
    with pytest.raises(MemoryBudgetError, match="beside operands and result"):
        plan(Spec((1024,) * 3, "uint8"), filter_, mode="same", policy=Policy(memory=2**26))


def test_what_the_machine_does_not_hold_is_refused():
    side = int(this_machine().memory ** (1 / 3))
    with pytest.raises(MemoryBudgetError, match="for scratch and result"):
        plan(Spec((side,) * 3, "float64"), Spec((3,) * 3, "float64"), mode="same")


def test_threads_are_limited_by_the_policy_and_the_this_machine():
    assert plan_problem(IMAGE, Policy(threads=1)).machine.threads == 1
    assert plan_problem(IMAGE, Policy(threads=10**6)).machine.threads == this_machine().threads
    assert plan_problem(LAYER.gradient("x"), Policy(threads=1)).ways[-1].parts[0].machine.threads == 1


def test_a_policy_reaches_the_parts():
    p = plan_problem(LAYER.gradient("k"), Policy(only="direct"))
    assert p.method == "filter-gradient"
    assert [part.method for part in p.ways[-1].parts] == ["direct"]
    p = plan_problem(LAYER.gradient("k"), Policy(without=("indirect", "definition")))
    assert p.method == "filter-gradient"
    assert "indirect" in p.ways[-1].parts[0].refusals


# -- texts ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p.text or "default")
def test_policies_survive_their_text(policy):
    assert Policy.parse(policy.text) == policy
    assert hash(Policy.parse(policy.text)) == hash(policy)
    assert "\n" not in policy.text


def test_the_default_policy_has_no_text():
    assert Policy().text == ""
    assert Policy.parse("") == Policy() == faltung.Policy()


@pytest.mark.parametrize(
    "problem",
    [IMAGE, LAYER, LAYER.gradient("x"), replace(IMAGE, host="torch")],
    ids=["image", "layer", "gradient", "tensors"],
)
def test_the_table_shows_every_method_with_its_verdict(problem):
    p = plan_problem(problem)
    text = str(p)
    assert text.splitlines()[0] == problem.text
    rows = {
        line.split()[0]: line
        for line in text.splitlines()
        if line.split() and line.split()[0] in methods.BY_NAME and not line.startswith(" ")
    }
    rows = {name: line for name, line in rows.items() if not line.startswith(f"{name},")}
    assert set(rows) == set(methods.BY_NAME)
    assert [name for name, line in rows.items() if line[16:].startswith("chosen ")] == [p.method]
    for name, sentence in p.refusals.items():
        assert "refuses" in rows[name]
        assert sentence in rows[name]


def test_the_table_indents_the_plans_of_parts():
    text = str(plan_problem(LAYER.gradient("x")))
    assert "part of transposed:" in text
    assert "\n    convolve " in text


def test_plans_hold_what_they_promise():
    p = plan_problem(IMAGE)
    assert p.cost > 0
    assert 0 < p.error < p.tolerance
    assert p.scratch > 0
    assert set(p.refusals) == {c.method.name for c in p.candidates if c.refusal is not None}
    assert [c.method.name for c in p.candidates] == list(methods.BY_NAME)


# -- preparing --------------------------------------------------------------------------------------------------------------


def test_a_prepared_filter_serves_many_signals():
    random = np.random.default_rng(0)
    k = random.standard_normal((5, 5)).astype("float32")
    p = plan_problem(IMAGE)
    ready = p.prepare(k)
    kept = k.copy()
    k[:] = 0  # the prepared filter is its own
    for _ in range(3):
        x = random.standard_normal(IMAGE.x_shape).astype("float32")
        assert np.array_equal(ready(x), p(x, kept))
    assert ready.method in {w.method.name for w in p.ways}


def test_gradients_have_no_filter_to_prepare():
    with pytest.raises(ArgumentError, match="unknown is the result"):
        plan_problem(IMAGE.gradient("x")).prepare(np.ones((5, 5), "float32"))


# -- wisdom -----------------------------------------------------------------------------------------------------------------

ASK = f"""
import sys
from faltung import Problem
from faltung.planner import plan_problem, wisdom
p = plan_problem(Problem.parse({IMAGE.text!r}))
print(p.method)
print(wisdom.note())
print(p.machine.origin)
"""


def ask(folder, code=ASK):
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "FALTUNG_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return run.stdout.split("\n")


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return ask(tmp_path_factory.mktemp("empty"))[0]


def choices(other):
    return {wisdom.key(IMAGE, threads): other for threads in range(1, 257)}


def test_wisdom_that_fits_is_followed(tmp_path, usual):
    other = "direct" if usual != "direct" else "fft"
    (tmp_path / "wisdom.json").write_text(json.dumps({"signature": faltung.__version__, "choices": choices(other)}))
    method, note, *_ = ask(tmp_path)
    assert (method, note) == (other, "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps({"signature": "0.0.0", "choices": choices("fft")}), "it is of version 0.0.0"),
        ("{ this is no JSON", "it cannot be read"),
        (json.dumps({"choices": choices("fft")}), "it cannot be read"),
        (
            json.dumps({"signature": faltung.__version__, "choices": {"a problem": 5}}),
            "it cannot be read (choices are not text)",
        ),
        (json.dumps([1, 2, 3]), "it cannot be read"),
    ],
    ids=["another version", "no JSON", "no signature", "no text", "a list"],
)
def test_wisdom_that_does_not_fit_is_put_aside_with_a_note(tmp_path, usual, text, said):
    (tmp_path / "wisdom.json").write_text(text)
    method, note, *_ = ask(tmp_path)
    assert method == usual
    assert said in note
    assert "wisdom.json put aside" in note
    assert (tmp_path / "wisdom.json").read_text() == text


@pytest.mark.parametrize("name", ["onednn", "nobody"])
def test_wisdom_cannot_force_a_method_that_refuses(tmp_path, usual, name):
    (tmp_path / "wisdom.json").write_text(json.dumps({"signature": faltung.__version__, "choices": choices(name)}))
    assert ask(tmp_path)[0] == usual


def test_recorded_choices_are_read_by_the_next_process(tmp_path, usual):
    other = "direct" if usual != "direct" else "fft"
    code = f"""
from faltung import Problem
from faltung.planner import this_machine, wisdom
p = Problem.parse({IMAGE.text!r})
wisdom.record({{wisdom.key(p, t): "definition" for t in range(1, 257)}})
wisdom.record({{wisdom.key(p, t): {other!r} for t in range(1, 257)}})
print(wisdom.best(p, this_machine()))
"""
    assert ask(tmp_path, code)[0] == other
    assert ask(tmp_path)[0] == other
    assert not list(tmp_path.glob("*.tmp"))
    assert json.loads((tmp_path / "wisdom.json").read_text())["signature"] == faltung.__version__


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps({"faltung": "0.0.0", "rates": {}, "cache": 1, "taken": "then"}), "is of version 0.0.0"),
        (json.dumps({"faltung": faltung.__version__, "rates": {}, "cache": 1, "taken": "then"}), "has no rate "),
        ("no JSON", "cannot be read"),
        (None, "run faltung tune"),
    ],
    ids=["another version", "a rate less", "damaged", "none"],
)
def test_a_profile_that_does_not_fit_gives_way_to_the_shipped_one(tmp_path, usual, text, said):
    if text is not None:
        (tmp_path / "profile.json").write_text(text)
    method, _, origin, *_ = ask(tmp_path)
    assert method == usual
    assert "shipped defaults" in origin
    assert said in origin


def test_planning_leaves_no_files(tmp_path):
    ask(tmp_path)
    assert not [p for p in tmp_path.iterdir() if p.suffix != ".bin"]


def test_handing_work_over_costs_what_the_threads_of_the_problem_cost():
    """Torch's team where the arrays are tensors, the pool for arrays of NumPy; nothing else of the machine differs."""
    base = this_machine()
    rates = base.rates | {"thread": 1e-3, "team": 1e-6}
    pool = replace(base, rates=rates, threads=4)
    on_team = replace(pool, team=True)
    assert (pool.seconds("thread"), on_team.seconds("thread")) == (1e-3, 1e-6)
    others = [kind for kind in rates if kind != "thread"]
    assert [on_team.seconds(kind) for kind in others] == [pool.seconds(kind) for kind in others]
    line = 'correlate "b c *s, o c *s -> b o *s" x=2x16x40x40:float32 k=16x16x3x3:float32 out=float32 pad=1:1,1:1'
    problem = Problem.parse(line + " boundary=constant,constant")
    cost = {}
    for host in ("numpy", "torch"):
        found = planned_on(replace(problem, host=host), Policy(only="indirect"), pool)
        assert found.machine.team == (host == "torch")
        cost[host] = next(c.cost for c in found.candidates if c.method.name == "indirect")
    assert cost["torch"] < cost["numpy"]
