"""The report of a run: one HTML file that holds everything it shows. Knows a `Summary`, nothing of runs or engines."""

from thickets.report.page import render_report

__all__ = ["render_report"]
