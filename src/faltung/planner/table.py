"""The plan as people read it: the problem, the choice, and every method with its verdict."""

from typing import Any

from faltung.planner.diagram import diagram


def seconds(value: float) -> str:
    """A duration in its natural unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def bytes_(value: float) -> str:
    """A size in its natural binary unit."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"


def table(plan: Any) -> str:
    """The whole explanation as plain text: one line a method, the reason of every refusal, the parts indented."""
    problem = plan.problem
    lines = [
        problem.text,
        *diagram(problem),
        f"result  {'x'.join(map(str, problem.result_shape))} {problem.result_dtype}, computed in {problem.compute_dtype}",
    ]
    others = " ".join(word for word in plan.policy.text.split() if not word.startswith(("tolerance=", "threads=")))
    lines.append(
        f"policy  tolerance {plan.tolerance:.2g}, {plan.machine.threads} threads" + (f", {others}" if others else "")
    )
    lines.append(f"machine {plan.machine.origin}")
    lines.append("")
    lines.append(f"{'method':<16}{'verdict':<13}{'time':>10}{'error':>10}{'scratch':>11}  remark")
    lines += [_row(plan, candidate) for candidate in plan.candidates]
    for way in plan.ways:
        for part in way.parts:
            lines.append("")
            lines.append(f"part of {way.method.name}:")
            lines += [f"    {line}" for line in _brief(part)]
    return "\n".join(lines)


def _row(plan: Any, candidate: Any) -> str:
    name = f"{candidate.method.name:<16}"
    if candidate.refusal is not None:
        return f"{name}{'refuses':<13}{'':>31}  {candidate.refusal}"
    figures = f"{seconds(candidate.cost):>10}{candidate.error:>10.1e}{bytes_(candidate.scratch):>11}  "
    if candidate.compile:
        figures += f"(compiles {seconds(candidate.compile)} first) "
    if candidate is plan.chosen:
        return f"{name}{'chosen':<13}{figures}{candidate.method.summary}"
    if candidate in plan.structured:
        terms = "" if candidate.budget <= 1 else f" (up to {candidate.budget} terms)"
        return f"{name}{'if it fits':<13}{figures}{candidate.method.summary}{terms}"
    return f"{name}{'slower':<13}{figures}{candidate.method.summary}"


def _brief(plan: Any) -> list[str]:
    lines = [plan.problem.text]
    lines.append(f"{plan.method}, {seconds(plan.cost)}, error {plan.error:.1e}, scratch {bytes_(plan.scratch)}")
    for way in plan.ways:
        for part in way.parts:
            lines += [f"    {line}" for line in _brief(part)]
    return lines
