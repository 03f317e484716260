"""Estimates what a config will cost before it runs."""

from typing import TYPE_CHECKING, Any

from heatproof.hooks import hookimpl

if TYPE_CHECKING:
    from heatproof.plan.plan import Plan


@hookimpl
def heatproof_plan_tables(plan: "Plan") -> list[Any]:
    """The passes, memory and disk that a plan takes."""
    from .estimate import estimates
    from .tables import cost_table

    return [cost_table(estimates(plan))]
