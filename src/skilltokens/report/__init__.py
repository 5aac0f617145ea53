"""Run files -> one self-contained HTML page, and the tables of RESULTS.md."""

from skilltokens.report.page import write_report
from skilltokens.report.runs import Run, read_run

__all__ = ["Run", "read_run", "write_report"]
