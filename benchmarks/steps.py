"""100 parallel trivial steps of one Workflow, four at a time, against spawning as many processes.

Usage: python benchmarks/steps.py. Goal: under 2 s.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

STEPS, PARALLELISM = 100, 4
WORKFLOW = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Workflow",
    "metadata": {"name": "fan"},
    "spec": {
        "entrypoint": "fan",
        "parallelism": PARALLELISM,
        "templates": [
            {
                "name": "fan",
                "steps": [
                    [
                        {
                            "name": "one",
                            "template": "one",
                            "withSequence": {"count": str(STEPS)},
                        }
                    ]
                ],
            },
            {"name": "one", "container": {"image": "busybox", "command": ["true"]}},
        ],
    },
}


def main() -> None:
    """Runs both and prints the ratio."""
    raw = _raw()
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "data")
        manifest = Path(folder) / "fan.json"
        manifest.write_text(json.dumps(WORKFLOW))
        place = ("--data-dir", data)
        _kubeling("up", "--detach", "--port", "0", "--workspace", folder, *place)
        _kubeling("apply", "-f", str(manifest), *place)
        _kubeling("wait", "workflow/fan", "--for", "phase=Succeeded", *place)
        found = json.loads(_kubeling("get", "workflow", "fan", "-o", "json", *place))
        _kubeling("reset", "--yes", *place)
    nodes = [n for n in found["status"]["nodes"].values() if n["type"] == "Pod"]
    ours = _seconds(found["status"]["startedAt"], found["status"]["finishedAt"])
    print(
        f"{len(nodes)} steps, {PARALLELISM} at a time: {ours:.0f} s by the status (whole seconds)"
    )
    print(f"the same processes spawned: {raw:.2f} s")


def _seconds(start: str, end: str) -> float:
    moments = [dt.datetime.fromisoformat(text) for text in (start, end)]
    return (moments[1] - moments[0]).total_seconds()


def _raw() -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(PARALLELISM) as pool:
        list(
            pool.map(
                lambda _: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0), range(STEPS)
            )
        )
    return time.perf_counter() - began


def _kubeling(*words: str) -> str:
    command = [sys.executable, "-m", "kubeling", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
