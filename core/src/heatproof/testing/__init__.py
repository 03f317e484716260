"""The conformance kit: laws that every explainer, model, metric, dataset and reader must obey, and toys to check them.

A plugin checks a component in three lines::

    @conforms(MyExplainer())
    def test_conformance(check):
        check()

Without pytest, ``check_explainer(MyExplainer())`` returns the results, or raises a ``ConformanceError`` that lists all
failures.
"""

from .check import Check, ConformanceError, NotApplicable, Result, Violation
from .kit import check_dataset, check_explainer, check_metric, check_model, check_plugin, check_reader, checks, conforms

__all__ = [
    "Check",
    "ConformanceError",
    "NotApplicable",
    "Result",
    "Violation",
    "check_dataset",
    "check_explainer",
    "check_metric",
    "check_model",
    "check_plugin",
    "check_reader",
    "checks",
    "conforms",
]
