"""What a trial's object is given so that its pods can be found and its metrics read.

Upstream rewrites pods in a webhook; here everything is stated in the object the trial creates, in
whatever pod templates it holds: labels on the pods, the trial's name in the primary container's
environment, and for File metrics a volume and a sidecar that prints the file. StdOut needs no
sidecar, because the log is there to be read; an annotation tells under which other container name
clients look for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from kubeling.kube.objects import Obj, deep_copy, name

__all__ = ["COLLECTOR", "TRIAL_LABEL", "instrumented", "log_container"]

TRIAL_LABEL: Final = "katib.kubeflow.org/trial"
COLLECTOR: Final = "metrics-logger-and-collector"
LOG_ALIAS: Final = "kubeling.io/log-container-alias"
_VOLUME: Final = "metrics-volume"
_MANAGER: Final = "katib.kubeling.io/trial"
# Prints what was added to the file twice a second and, asked to stop, the rest of it.
_PRINT_FILE: Final = """\
file="$1"; lines=0; ended=
trap 'ended=1' TERM
print_new() {
  [ -f "$file" ] || return 0
  total=$(wc -l < "$file")
  [ "$total" -gt "$lines" ] || return 0
  sed -n "$((lines + 1)),${total}p" "$file"
  lines=$total
}
while [ -z "$ended" ]; do
  print_new
  { sleep 0.5 & wait $!; } 2>/dev/null
done
[ -f "$file" ] && tail -n "+$((lines + 1))" "$file"
exit 0
"""


@dataclass(frozen=True, slots=True)
class Addition:
    """What the pods of one trial are given."""

    labels: dict[str, str]
    annotations: dict[str, str]
    variable: Obj
    container: str
    file: PurePosixPath | None

    def init_containers(self) -> list[Obj]:
        if self.file is None:
            return []
        command = ["sh", "-c", _PRINT_FILE, "print-metrics", str(self.file)]
        return [
            {
                "name": COLLECTOR,
                "image": "busybox:stable",
                "restartPolicy": "Always",
                "command": command,
                "volumeMounts": self.mounts(),
            }
        ]

    def mounts(self) -> list[Obj]:
        if self.file is None:
            return []
        return [{"name": _VOLUME, "mountPath": str(self.file.parent)}]

    def volumes(self) -> list[Obj]:
        return [] if self.file is None else [{"name": _VOLUME, "emptyDir": {}}]


def log_container(trial: Obj) -> str:
    """The container whose log holds a trial's metrics."""
    kind = (trial["spec"].get("metricsCollector") or {}).get("collector", {}).get("kind")
    return COLLECTOR if kind == "File" else str(trial["spec"]["primaryContainerName"])


def instrumented(trial: Obj) -> Obj:
    """The object a trial runs, with what its pods need; the trial's own is not changed."""
    run: Obj = deep_copy(trial["spec"]["runSpec"])
    addition = _addition(trial)
    _label_object(run, addition)
    if str(run.get("apiVersion", "")).startswith("trainer.kubeflow.org/"):
        _patch_train_job(run, addition)
        return run
    if str(run.get("apiVersion", "")).startswith("argoproj.io/"):
        metadata = run.setdefault("spec", {}).setdefault("podMetadata", {})
        metadata["labels"] = {**(metadata.get("labels") or {}), **addition.labels}
    for template in _pod_templates(run.get("spec")):
        _add_to_template(template, addition)
    return run


def _addition(trial: Obj) -> Addition:
    spec = trial["spec"]
    collector = spec.get("metricsCollector") or {}
    kind = (collector.get("collector") or {}).get("kind")
    container = str(spec["primaryContainerName"])
    where = ((collector.get("source") or {}).get("fileSystemPath") or {}).get("path")
    return Addition(
        labels={**(trial["metadata"].get("labels") or {}), TRIAL_LABEL: name(trial)},
        annotations={LOG_ALIAS: f"{COLLECTOR}={container}"} if kind == "StdOut" else {},
        variable={"name": "KATIB_TRIAL_NAME", "value": name(trial)},
        container=container,
        file=PurePosixPath(where) if kind == "File" and where else None,
    )


def _label_object(run: Obj, addition: Addition) -> None:
    metadata = run["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), **addition.labels}


def _pod_templates(value: Any) -> Iterator[Obj]:
    """Every pod template in an object, however deep."""
    if isinstance(value, list):
        for child in value:
            yield from _pod_templates(child)
    elif isinstance(value, dict):
        spec = value.get("spec")
        if isinstance(spec, dict) and isinstance(spec.get("containers"), list):
            yield value
            return
        for child in value.values():
            yield from _pod_templates(child)


def _add_to_template(template: Obj, addition: Addition) -> None:
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **addition.labels}
    if addition.annotations:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **addition.annotations}
    spec = template["spec"]
    for container in spec["containers"]:
        # A failed trial is then told with the end of its log.
        container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    primary = _primary(spec["containers"], addition.container)
    if primary is None:
        return
    primary["env"] = [*(primary.get("env") or []), addition.variable]
    if addition.file is None:
        return
    directory = str(addition.file.parent)
    mounted = [m for m in primary.get("volumeMounts") or [] if m.get("mountPath") == directory]
    sidecars = addition.init_containers()
    if mounted:
        # The user keeps the file on a volume of their own: the sidecar reads it from there.
        sidecars[0]["volumeMounts"] = mounted
    else:
        primary["volumeMounts"] = [*(primary.get("volumeMounts") or []), *addition.mounts()]
        spec["volumes"] = [*(spec.get("volumes") or []), *addition.volumes()]
    spec["initContainers"] = [*(spec.get("initContainers") or []), *sidecars]


def _primary(containers: list[Obj], wanted: str) -> Obj | None:
    """The primary container; a lone one without a name is meant, whatever it is called later."""
    for container in containers:
        if container.get("name") == wanted:
            return container
    unnamed = [container for container in containers if not container.get("name")]
    return unnamed[0] if unnamed else None


def _patch_train_job(run: Obj, addition: Addition) -> None:
    """A TrainJob has no pod template of its own: the runtime's is patched."""
    spec = run.setdefault("spec", {})
    trainer = spec.setdefault("trainer", {})
    trainer["env"] = [*(trainer.get("env") or []), addition.variable]
    pod: Obj = {
        "metadata": {"labels": addition.labels, "annotations": addition.annotations},
    }
    if addition.file is not None:
        pod["spec"] = {
            "volumes": addition.volumes(),
            "initContainers": addition.init_containers(),
            "containers": [{"name": addition.container, "volumeMounts": addition.mounts()}],
        }
    replicated = {"name": "node", "template": {"spec": {"template": pod}}}
    patch = {
        "manager": _MANAGER,
        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [replicated]}}},
    }
    spec["runtimePatches"] = [*(spec.get("runtimePatches") or []), patch]
