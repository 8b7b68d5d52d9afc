"""Artifacts that a Python component writes to a path of its own choice.

``artifact.set_path('/tmp/x')`` (or ``custom_path``) makes the SDK say in its answer where the step
left an artifact. That is in the step's own file system, which is gone when its pod has ended, and
upstream's launcher copies it from there. There is no launcher here; the component's module, which
the SDK writes to a file from its command line, is given a few lines that do it when Python ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kubeling.pipelines.launcher import MOUNTED

__all__ = ["with_custom_paths"]

_RUNS_COMPONENT: Final = "kfp.dsl.executor_main"
_LINES: Final = """

def _keep_custom_paths(answer, mounts):
    import json, os, shutil
    if not os.path.exists(answer):
        return
    with open(answer) as file:
        made = json.load(file).get("artifacts") or {}
    for artifact in (one for entry in made.values() for one in entry.get("artifacts") or ()):
        source, target = artifact.get("custom_path"), artifact.get("uri") or ""
        scheme, _, rest = target.partition("://")
        target = mounts[scheme] + "/" + rest if scheme in mounts else target
        if source and os.path.exists(source) and not os.path.exists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            (shutil.copytree if os.path.isdir(source) else shutil.copyfile)(source, target)

import atexit
atexit.register(_keep_custom_paths, {answer!r}, {mounts!r})
"""


def with_custom_paths(command: Sequence[str], answer: str) -> list[str]:
    """The command of a Python component, whose answer goes to the file named; others as given."""
    if len(command) < 2 or _RUNS_COMPONENT not in command[-2]:
        return list(command)
    lines = _LINES.replace("{answer!r}", repr(answer)).replace(
        "{mounts!r}", repr({scheme: f"/{folder}" for scheme, folder in MOUNTED.items()})
    )
    return [*command[:-1], command[-1] + lines]
