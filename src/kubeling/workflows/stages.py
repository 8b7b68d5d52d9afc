"""A whole workflow in a few lines: ``stages`` in order, each the script of that name.

    stages:
      - prepare-data
      - train

Every stage becomes a step of an ordinary Workflow: ``train.py``, ``train.ipynb``, ``train.sh`` or a
WorkflowTemplate ``train.yaml`` beside the file (underscores may stand for hyphens). What a stage
gives is handed on by name: a Python file with a function of the stage's name gets its arguments
from what earlier stages gave, and gives what it returns; a notebook's cells tagged "parameters" and
"outputs" do the same; any script reads ``$INPUT_NAME`` and appends ``name=value`` to
``$STAGE_OUTPUTS``. All stages see the same folder, ``/shared`` (also in ``$SHARED_DIR``), and what
is in it at the end is kept as the Workflow's artifact.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from kubeling.kube import yaml
from kubeling.kube.objects import Obj, deep_copy
from kubeling.workflows.resources import WORKFLOWS

__all__ = ["SHARED", "workflow_from_stages"]

SHARED: Final = "/shared"
_KEYS: Final = ("stages", "name", "image", "parameters")
_PYTHON: Final = "python:3"
_NOTEBOOK: Final = "jupyter/minimal-notebook"
_SHELL: Final = "bash"
_ENDINGS: Final = (".py", ".ipynb", ".sh", ".yaml", ".yml")
_RUNNER: Final = Path(__file__).with_name("stage_runner.py")
_SHELL_RUNNER: Final = """\
for file in "$SHARED_DIR"/.stages/*.out; do
  [ -f "$file" ] || continue
  while IFS='=' read -r name value || [ -n "$name" ]; do
    case "$name" in ''|*[!A-Za-z0-9_-]*) continue;; esac
    export "INPUT_$(printf %s "$name" | tr a-z- A-Z_)=$value"
  done < "$file"
done
mkdir -p "$SHARED_DIR/.stages"
touch "$STAGE_OUTPUTS"
exec bash "$1"
"""


def workflow_from_stages(document: Any, folder: Path, *, is_workspace: bool = True) -> Obj:
    """The Workflow a document of stages stands for; raises :class:`ValueError`.

    ``name`` gives the Workflow's name a beginning, ``image`` names what Python stages run in, and
    ``parameters`` are inputs of the first stages with their defaults. Files are looked for in the
    folder; stages start there unless it is the workspace, where they start anyway.
    """
    stages = _stages(document)
    parameters = _parameters(document)
    files = {stage: _file(stage, folder) for stage in stages}
    if missing := [stage for stage, file in files.items() if file is None]:
        raise ValueError(_nothing_for(missing, folder))
    image = str(document.get("image") or _PYTHON)
    maker = _Maker(folder, image, list(parameters), "" if is_workspace else str(folder))
    templates: list[Obj] = []
    steps: list[list[Obj]] = []
    for number, (stage, file) in enumerate(files.items()):
        assert file is not None
        name = re.sub(r"[^A-Za-z0-9-]+", "-", stage)
        entry, made = maker.templates(number, name, stage, file)
        if number == len(files) - 1:
            _keep_shared(next(t for t in made if t["name"] == entry))
        templates += made
        steps.append([{"name": name, "template": entry}])
    claim = {
        "metadata": {"name": "shared"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    spec: Obj = {
        "entrypoint": "stages",
        "volumeClaimTemplates": [claim],
        "templates": [{"name": "stages", "steps": steps}, *templates],
    }
    if parameters:
        given = [{"name": name, "value": value} for name, value in parameters.items()]
        spec["arguments"] = {"parameters": given}
    return {
        "apiVersion": WORKFLOWS.api_version,
        "kind": WORKFLOWS.kind,
        "metadata": {"generateName": f"{document.get('name') or 'stages'}-"},
        "spec": spec,
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


def _parameters(document: Mapping[str, Any]) -> dict[str, str]:
    given = document.get("parameters") or {}
    if not isinstance(given, Mapping):
        raise ValueError("parameters: Invalid value: must map names to defaults")
    for name in given:
        if not re.fullmatch(r"[A-Za-z_][\w-]*", str(name)):
            raise ValueError(f"parameters: Invalid value: {name!r}: not a name")
    return {
        str(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
    }


def _spellings(stage: str) -> list[str]:
    return list(dict.fromkeys((stage, stage.replace("-", "_"), stage.replace("_", "-"))))


def _file(stage: str, folder: Path) -> str | None:
    """The file of a stage: Python first, then notebooks, shell scripts and templates."""
    for ending in _ENDINGS:
        for spelling in _spellings(stage):
            if (folder / f"{spelling}{ending}").is_file():
                return f"{spelling}{ending}"
    return None


def _nothing_for(missing: Iterable[str], folder: Path) -> str:
    wanted = _ENDINGS[:-1]
    problems = [f'"{stage}" ({", ".join(f"{stage}{e}" for e in wanted)})' for stage in missing]
    return (
        f"stages: Not found: nothing to run for {'; '.join(problems)}: "
        f"put one of these files for each into {folder}"
    )


class _Maker:
    """Makes the templates of stages."""

    def __init__(self, folder: Path, image: str, parameters: list[str], start: str) -> None:
        self._folder = folder
        self._image = image
        self._parameters = parameters
        self._start = start

    def templates(self, number: int, name: str, stage: str, file: str) -> tuple[str, list[Obj]]:
        """The template to call for a stage, and all that it needs."""
        env = self._environment(number, name)
        if file.endswith((".yaml", ".yml")):
            return self._component(name, file, env)
        image = {".ipynb": _NOTEBOOK, ".sh": _SHELL}.get(Path(file).suffix, self._image)
        if file.endswith(".sh"):
            command = ["bash", "-c", _SHELL_RUNNER, "stage", file]
        else:
            command = ["python", "-c", _RUNNER.read_text(), stage, file]
        container: Obj = {"image": image, "command": command}
        if self._start:
            container["workingDir"] = self._start
        _share(container, env)
        told = {"name": "outputs", "valueFrom": {"path": env["STAGE_OUTPUTS"], "default": ""}}
        return name, [{"name": name, "container": container, "outputs": {"parameters": [told]}}]

    def _environment(self, number: int, name: str) -> dict[str, str]:
        env = {
            "SHARED_DIR": SHARED,
            "STAGE": name,
            "STAGE_OUTPUTS": f"{SHARED}/.stages/{number:03d}-{name}.out",
        }
        keys = {p: f"INPUT_{p.upper().replace('-', '_')}" for p in self._parameters}
        if keys:
            env["STAGE_PARAMETERS"] = json.dumps(list(keys.items()))
        for parameter, key in keys.items():
            env[key] = f"{{{{workflow.parameters.{parameter}}}}}"
        return env

    def _component(self, name: str, file: str, env: dict[str, str]) -> tuple[str, list[Obj]]:
        """The templates of a WorkflowTemplate, which sees the shared folder as scripts do."""
        try:
            found = yaml.load((self._folder / file).read_text())
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
        if not isinstance(found, Mapping) or found.get("kind") != "WorkflowTemplate":
            raise ValueError(f"{file}: a WorkflowTemplate is expected; its entrypoint is the stage")
        spec = deep_copy(dict(found.get("spec") or {}))
        entry = spec.get("entrypoint")
        templates = [t for t in spec.get("templates") or () if isinstance(t, dict)]
        if entry not in [t.get("name") for t in templates]:
            raise ValueError(f"{file}: spec.entrypoint: Required value: one of its templates")
        text = json.dumps(templates)
        for template in templates:
            text = text.replace(
                f'"template": "{template["name"]}"', f'"template": "{name}-{template["name"]}"'
            )
        made: list[Obj] = json.loads(text)
        for template in made:
            template["name"] = f"{name}-{template['name']}"
            for kind in ("container", "script"):
                if kind in template:
                    _share(template[kind], env)
        return f"{name}-{entry}", made


def _share(container: Obj, env: Mapping[str, str]) -> None:
    """Mounts the shared folder, and says where things are."""
    container.setdefault("volumeMounts", []).append({"name": "shared", "mountPath": SHARED})
    known = {entry["name"] for entry in container.setdefault("env", [])}
    container["env"] += [{"name": k, "value": v} for k, v in env.items() if k not in known]


def _keep_shared(template: Obj) -> None:
    kept = {"name": "shared", "path": SHARED, "globalName": "shared", "optional": True}
    template.setdefault("outputs", {}).setdefault("artifacts", []).append(kept)
