"""Prints what found each planted bug, and how soon."""

import pytest

from tests.mutants.plant import table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ended = [report for reports in terminalreporter.stats.values() for report in reports]
    rows = [
        value
        for report in ended
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == "found"
    ]
    if rows:
        terminalreporter.section("planted bugs")
        terminalreporter.write_line(table(sorted(rows)))
