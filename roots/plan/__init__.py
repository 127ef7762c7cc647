"""What a run will be, told before it starts."""

from roots.plan.plan import Plan, plan_run

__all__ = ["Plan", "plan_run"]
