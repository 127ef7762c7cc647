"""What a run will be, told before it starts."""

from roots.plan.devices import device_meant
from roots.plan.plan import Plan, plan_run, refuse_early
from roots.plan.target import Target, target_named

__all__ = ["Plan", "Target", "device_meant", "plan_run", "refuse_early", "target_named"]
