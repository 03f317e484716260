"""Estimates the cost of a config before it runs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from heatproof.hooks import hookimpl

if TYPE_CHECKING:
    from heatproof.plan.plan import Plan


@hookimpl
def heatproof_plan_costs(plan: "Plan") -> Mapping[str, Any]:
    """Add up the passes, seconds and disk space that a plan needs; the seconds by one measured pass of each model."""
    from .estimate import estimates, seconds, totals

    estimated = estimates(plan)
    return {**totals(estimated), "seconds": seconds(plan, estimated)}


@hookimpl
def heatproof_plan_tables(plan: "Plan") -> list[Any]:
    """Make the table of the passes, memory and disk space that a plan needs."""
    from .estimate import estimates
    from .tables import cost_table

    return [cost_table(estimates(plan))]
