"""The conformance kit: laws that every explainer, model, metric, dataset and reader obeys, and toys to try them on.

A third party needs three lines::

    @conforms(MyExplainer())
    def test_conformance(check):
        check()

Without pytest, ``check_explainer(MyExplainer())`` returns the results, or raises ``ConformanceError`` that lists all
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
