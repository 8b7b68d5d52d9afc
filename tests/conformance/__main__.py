"""``python -m tests.conformance``: others' material against a real platform, and a table of it.

KUBELING_UPSTREAM names a folder with checkouts of kubeflow/pipelines, kubeflow/katib,
kubeflow/trainer, its branch release-1.9, argoproj/argo-workflows, argoproj-labs/hera,
kserve/kserve, kserve/open-inference-protocol and kubeflow/manifests (``pipelines``, ``katib``,
``trainer``, ``training-operator``, ``argo-workflows``, ``hera``, ``kserve``, ``oip``,
``manifests``); nothing of them is kept here. A suite that ran as a whole has its part of
docs/reference/conformance.md written anew.

A suite is a module with ``cases``, ``run`` and, where it needs them, ``IMAGES`` that the catalogue
does not know (or ``images``, a function of upstream's folder), ``ARGUMENTS`` of ``kubeling up``,
its ``ENVIRONMENT`` and ``outside``, what stands in for the internet; it has a platform of its own.
A new one is a line in SUITES.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Final
from unittest import mock

from tests.conformance import (
    argo,
    hera,
    katib,
    kfp,
    kserve,
    kserve_distribution,
    kserve_samples,
    kserve_samples_run,
    kserve_server,
    oip,
    trainer,
    training,
)
from tests.conformance.rows import Case, Platform, Row
from tests.conformance.table import rewritten, summary
from tests.support.platform import started

ROOT: Final = Path(__file__).parents[2]
TABLE: Final = ROOT / "docs" / "reference" / "conformance.md"
SUITES: Final[dict[str, ModuleType]] = {
    "argo": argo,
    "hera": hera,
    "katib": katib,
    "kfp": kfp,
    "kserve": kserve,
    "kserve-distribution": kserve_distribution,
    "kserve-samples": kserve_samples,
    "kserve-samples-run": kserve_samples_run,
    "kserve-server": kserve_server,
    "oip": oip,
    "trainer": trainer,
    "training": training,
}


def main() -> int:
    """Runs the suites; the exit status says whether anything failed."""
    options = _options()
    upstream = os.environ.get("KUBELING_UPSTREAM")
    if not upstream:
        print("skipped: KUBELING_UPSTREAM names no folder with upstream's checkouts")
        return 0
    failed = False
    for name in options.suites or SUITES:
        cases = [case for case in SUITES[name].cases(Path(upstream)) if options.only in case.name]
        with _ran(name, cases, Path(upstream)) as rows:
            # While the platform is still up: to clear it away may take long, and go wrong.
            print(summary(rows), flush=True)
            failed |= any(row.outcome == "failed" for row in rows)
            if not options.only:
                TABLE.write_text(rewritten(TABLE.read_text() if TABLE.exists() else "", name, rows))
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("-k", dest="only", default="", help="only cases with this in their name")
    options = parser.parse_args()
    if unknown := sorted(set(options.suites) - SUITES.keys()):
        parser.error(f"no suite {unknown[0]} (there are: {', '.join(SUITES)})")
    return options


@contextmanager
def _ran(name: str, cases: Sequence[Case], upstream: Path) -> Iterator[list[Row]]:
    suite = SUITES[name]
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        workspace = Path(folder) / "workspace"
        workspace.mkdir()
        if images := getattr(suite, "IMAGES", None):
            shutil.copy(images, workspace / "images.yaml")
        if written := getattr(suite, "images", None):
            (workspace / "images.yaml").write_text(written(upstream))
        arguments = getattr(suite, "ARGUMENTS", ())
        settings = dict(getattr(suite, "ENVIRONMENT", {}))
        with ExitStack() as stack:
            if outside := getattr(suite, "outside", None):
                settings |= stack.enter_context(outside(workspace))
            stack.enter_context(mock.patch.dict(os.environ, settings))
            data = Path(folder) / "data"
            up = stack.enter_context(started(data, workspace, arguments=arguments))
            platform = Platform(up.url, Path(up.endpoints["kubeconfig"]), up.data_dir)
            print(f"{name}: {len(cases)} cases", flush=True)
            found = suite.run(cases, platform)
            yield _told(asyncio.run(found) if inspect.iscoroutine(found) else found)


def _told(rows: Iterable[Row]) -> list[Row]:
    found = []
    for row in rows:
        print(f"  {row.outcome:12} {row.name}  {row.reason}".rstrip(), flush=True)
        found.append(row)
    return found


if __name__ == "__main__":
    sys.exit(main())
