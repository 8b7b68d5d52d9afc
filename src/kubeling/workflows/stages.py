"""A whole workflow in a few lines: ``stages`` in order, each the script of that name.

    stages:
      - prepare-data
      - train

Every stage becomes a step of an ordinary Workflow: ``train.py``, ``train.ipynb`` or ``train.sh``
in the workspace (underscores may stand for hyphens). All stages see the same folder, ``/shared``
(also in ``$SHARED_DIR``), and what is in it at the end is kept as the Workflow's artifact.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.workflows.resources import WORKFLOWS

__all__ = ["SHARED", "workflow_from_stages"]

SHARED: Final = "/shared"
_KEYS: Final = ("stages", "name", "image")
_PYTHON: Final = "python:3"
_NOTEBOOK: Final = "jupyter/minimal-notebook"
_SHELL: Final = "bash"


def workflow_from_stages(document: Any, workspace: Path) -> Obj:
    """The Workflow a document of stages stands for; raises :class:`ValueError`.

    ``name`` gives the Workflow's name a beginning and ``image`` names what Python stages run in.
    """
    stages = _stages(document)
    files = {stage: _file(stage, workspace) for stage in stages}
    missing = [stage for stage, file in files.items() if file is None]
    if missing:
        raise ValueError(_nothing_for(missing, workspace))
    image = str(document.get("image") or _PYTHON)
    names = {stage: re.sub(r"[^A-Za-z0-9-]+", "-", stage) for stage in stages}
    templates = [
        _template(names[stage], file, image, last=stage == stages[-1])
        for stage, file in files.items()
        if file is not None
    ]
    steps = [[{"name": names[stage], "template": names[stage]}] for stage in stages]
    claim = {
        "metadata": {"name": "shared"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    return {
        "apiVersion": WORKFLOWS.api_version,
        "kind": WORKFLOWS.kind,
        "metadata": {"generateName": f"{document.get('name') or 'stages'}-"},
        "spec": {
            "entrypoint": "stages",
            "volumeClaimTemplates": [claim],
            "templates": [{"name": "stages", "steps": steps}, *templates],
        },
    }


def _stages(document: Any) -> list[str]:
    if not isinstance(document, Mapping) or "stages" not in document:
        raise ValueError("stages: Required value: list the stages' names, one per line")
    for key in document:
        if key not in _KEYS:
            raise ValueError(f"{key}: unknown field; a file of stages has {', '.join(_KEYS)}")
    stages = document["stages"]
    if not isinstance(stages, list) or not stages:
        raise ValueError("stages: Invalid value: must be a list with at least one name")
    for number, stage in enumerate(stages):
        if not isinstance(stage, str) or not re.fullmatch(r"[A-Za-z0-9][\w-]*", stage):
            raise ValueError(
                f"stages[{number}]: Invalid value: {stage!r}: a name has letters, digits, hyphens "
                "and underscores"
            )
        if stage.replace("_", "-") in (s.replace("_", "-") for s in stages[:number]):
            raise ValueError(f"stages[{number}]: Duplicate value: {stage!r}")
    return list(stages)


def _spellings(stage: str) -> list[str]:
    return list(dict.fromkeys((stage, stage.replace("-", "_"), stage.replace("_", "-"))))


def _file(stage: str, workspace: Path) -> str | None:
    """The file of a stage: Python first, then notebooks, then shell."""
    for suffix in _RUNNERS:
        for spelling in _spellings(stage):
            if (workspace / f"{spelling}{suffix}").is_file():
                return f"{spelling}{suffix}"
    return None


def _nothing_for(missing: Iterable[str], workspace: Path) -> str:
    problems = [
        f'"{stage}" ({", ".join(f"{stage}{suffix}" for suffix in _RUNNERS)})' for stage in missing
    ]
    return (
        f"stages: Not found: nothing to run for {'; '.join(problems)}: "
        f"put one of these files for each into {workspace}"
    )


def _template(name: str, file: str, image: str, *, last: bool) -> Obj:
    container: Obj = _RUNNERS[Path(file).suffix](file, image)
    container["volumeMounts"] = [{"name": "shared", "mountPath": SHARED}]
    container["env"] = [{"name": "SHARED_DIR", "value": SHARED}]
    template: Obj = {"name": name, "container": container}
    if last:
        kept = {"name": "shared", "path": SHARED, "globalName": "shared", "optional": True}
        template["outputs"] = {"artifacts": [kept]}
    return template


def _python(file: str, image: str) -> Obj:
    return {"image": image, "command": ["python", file]}


def _notebook(file: str, _: str) -> Obj:
    command = ["jupyter", "nbconvert", "--to", "notebook", "--execute", "--output-dir", SHARED]
    return {"image": _NOTEBOOK, "command": [*command, file]}


def _shell(file: str, _: str) -> Obj:
    return {"image": _SHELL, "command": ["bash", file]}


_RUNNERS: Final[dict[str, Callable[[str, str], Obj]]] = {
    ".py": _python,
    ".ipynb": _notebook,
    ".sh": _shell,
}
