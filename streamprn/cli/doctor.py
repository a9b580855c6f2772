"""`streamprn doctor`: what this machine has, and what `run` would use."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from streamprn.cli.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamprn.apps.doctor import Report

_DESCRIPTION = """\
Look at the machine: processor, memory, packages, video decoders, cameras, runtimes, GPU, engines;
and open the engine that `streamprn run` would use in this folder. The exit code is 1 where
something is wrong. Nothing is sent anywhere."""
_EXAMPLES = """
streamprn doctor
streamprn doctor --json > machine.json
"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
    """Add `doctor`."""
    parser = subparsers.add_parser(
        "doctor",
        help="what this machine has, and what `run` would use",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the findings."""
    from streamprn.apps.doctor import examine
    from streamprn.cli.console import configure_logging

    configure_logging("debug" if args.verbose else "error")
    reports = [_without_credentials(report) for report in examine()]
    if args.json:
        _print_json(reports)
    else:
        _print(reports)
    return 1 if any(report.problems for report in reports) else 0


def _without_credentials(report: Report) -> Report:
    """A problem may quote a setting that is an address."""
    from dataclasses import replace

    from streamprn.redact import redact_text

    facts = {name: redact_text(fact) for name, fact in report.facts.items()}
    return replace(report, facts=facts, problems=[redact_text(one) for one in report.problems])


def _print_json(reports: Sequence[Report]) -> None:
    import dataclasses
    import json
    import sys

    findings = [dataclasses.asdict(report) for report in reports]
    sys.stdout.write(json.dumps(findings, indent=2, ensure_ascii=False) + "\n")


def _print(reports: Sequence[Report]) -> None:
    from rich.table import Table

    from streamprn.cli.console import stdout_console

    console = stdout_console()
    for report in reports:
        console.print(f"[bold]{report.title}[/]")
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, fact in report.facts.items():
            table.add_row(name, fact)
        if report.facts:
            console.print(table, markup=False)
        for problem in report.problems:
            console.print("  [red]problem:[/]", end=" ")
            console.print(problem, markup=False, soft_wrap=True)
