"""``python -m tests.conformance``: others' material against a real platform, and a table of it.

KUBELING_UPSTREAM names a folder with checkouts of kubeflow/pipelines, argoproj/argo-workflows and
argoproj-labs/hera (``pipelines``, ``argo-workflows``, ``hera``); nothing of them is kept here. The
table goes to docs/reference/conformance.md when everything ran.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

from tests.conformance import kfp
from tests.conformance.rows import Case, Platform, Row
from tests.conformance.table import document, summary
from tests.support.platform import started

ROOT: Final = Path(__file__).parents[2]
TABLE: Final = ROOT / "docs" / "reference" / "conformance.md"
SUITES: Final[dict[str, ModuleType]] = {"kfp": kfp}


def main() -> int:
    """Runs the suites; the exit status says whether anything failed."""
    options = _options()
    upstream = os.environ.get("KUBELING_UPSTREAM")
    if not upstream:
        print("skipped: KUBELING_UPSTREAM names no folder with upstream's checkouts")
        return 0
    chosen = {
        name: [case for case in SUITES[name].cases(Path(upstream)) if options.only in case.name]
        for name in options.suites or SUITES
    }
    rows = _run(chosen)
    print(summary(rows))
    if not options.suites and not options.only:
        TABLE.write_text(document(rows))
    return 1 if any(row.outcome == "failed" for row in rows) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("-k", dest="only", default="", help="only cases with this in their name")
    options = parser.parse_args()
    if unknown := sorted(set(options.suites) - SUITES.keys()):
        parser.error(f"no suite {unknown[0]} (there are: {', '.join(SUITES)})")
    return options


def _run(chosen: dict[str, list[Case]]) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        workspace = Path(folder) / "workspace"
        workspace.mkdir()
        with started(Path(folder) / "data", workspace) as up:
            platform = Platform(up.url, Path(up.endpoints["kubeconfig"]), up.data_dir)
            for name, cases in chosen.items():
                rows += _told(name, SUITES[name], cases, platform)
    return rows


def _told(name: str, suite: ModuleType, cases: Sequence[Case], platform: Platform) -> list[Row]:
    print(f"{name}: {len(cases)} cases", flush=True)
    rows: list[Row] = []
    for row in suite.run(cases, platform):
        print(f"  {row.outcome:12} {row.name}  {row.reason}".rstrip(), flush=True)
        rows.append(row)
    return rows


if __name__ == "__main__":
    sys.exit(main())
