"""TensorFlow and Paddle, really distributed: ``python -m tests.training.frameworks [NAME …]``.

Each is installed in an environment of its own, hundreds of megabytes, so CI does not run this. A
job of two processes has to print the losses of one process alone.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.platform import Platform, started

from kubeling.kube import yaml

EXAMPLES = Path(__file__).parents[2] / "examples" / "training"
PATIENCE_SECONDS = 900.0


@dataclass(frozen=True)
class Framework:
    """An example whose result does not depend on the number of its workers."""

    manifest: str
    replicas: str


FRAMEWORKS = {
    "tensorflow": Framework("tfjob-mirrored.yaml", "tfReplicaSpecs"),
    "paddle": Framework("paddlejob.yaml", "paddleReplicaSpecs"),
}


def losses(platform: Platform, framework: Framework, workers: int) -> list[str]:
    """What a job with so many workers says of its epochs."""
    job: Any = deepcopy(yaml.load((EXAMPLES / framework.manifest).read_text()))
    job["metadata"]["name"] += f"-{workers}"
    job["spec"][framework.replicas]["Worker"]["replicas"] = workers
    kind, name = job["kind"], job["metadata"]["name"]
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(job))
    found = platform.until(_ended, kind, name, timeout=PATIENCE_SECONDS)
    # Which worker is the first process, and so speaks, is for the framework to say.
    logs = [platform.kubectl("logs", f"{name}-worker-{index}") for index in range(workers)]
    said = [line for log in logs for line in log.splitlines()]
    if found["status"]["conditions"][-1]["type"] != "Succeeded":
        raise SystemExit("\n".join([found["status"]["conditions"][-1]["message"], *said]))
    epochs = [line for line in said if line.startswith("epoch=")]
    if not all(line.endswith(f"processes={workers}") for line in epochs):
        raise SystemExit(f"{name} was not {workers} processes:\n" + "\n".join(said))
    return [line.partition(" processes=")[0] for line in epochs]


def _ended(job: dict[str, Any]) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c["type"] in ("Succeeded", "Failed") for c in conditions)


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace"
        shutil.copytree(EXAMPLES, workspace)
        with started(Path(folder) / "data", workspace) as platform:
            for name in names or list(FRAMEWORKS):
                one, two = (losses(platform, FRAMEWORKS[name], n) for n in (1, 2))
                if not one or one != two:
                    raise SystemExit(f"{name}: one process says {one}, two say {two}")
                print(f"{name}: two processes train as one does: {one[-1]}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
