"""The report of a run: its summary for the terminal, and one self-contained HTML page."""

from .page import write_report
from .results import read_summary

__all__ = ["read_summary", "write_report"]
