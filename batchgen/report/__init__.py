"""What happened in a run and what it cost: read from its output directory, as values, text or one HTML page.

`read_report` folds the published parts a column at a time, in memory that does not grow with them.
"""

from batchgen.report.read import read_cost_summary, read_report
from batchgen.report.sections import breakdown_text, report_text
from batchgen.report.values import Report

__all__ = ["Report", "breakdown_text", "read_cost_summary", "read_report", "report_text"]
