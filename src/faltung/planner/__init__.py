"""The planner: picks the fastest method that is right within the stated error, and says why."""

from faltung.planner.choose import plan_problem
from faltung.planner.machine import Machine, this_machine
from faltung.planner.plan import Plan, Prepared
from faltung.planner.policy import Policy

__all__ = ["Machine", "Plan", "Policy", "Prepared", "plan_problem", "this_machine"]
