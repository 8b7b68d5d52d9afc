"""The containers that collect metrics where the log of the primary container does not hold them.

Ours are sidecars in Kubernetes' own sense: they start first and end last, so that nothing that is
written late is missed. One prints what is added to a file, in shell; one prints the scalars of
event files. A user's own collector is an ordinary container that sees the others' processes, as
upstream makes it: it has to end by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from kubeling.kube.objects import Obj, deep_copy
from kubeling.tuning.collectors import COLLECTOR, FILE_COLLECTOR, collector_kind, metric_names

__all__ = ["Sidecar", "sidecar_of"]

_VOLUME: Final = "metrics-volume"
_SHELL_IMAGE: Final = "busybox:stable"
_IMAGE: Final = "kubeling/metrics-collector"
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
class Sidecar:
    """A container beside the primary one, and the folder they share, if they do."""

    container: Obj
    directory: PurePosixPath | None
    ends_itself: bool = False

    def mounts(self) -> list[Obj]:
        if self.directory is None:
            return []
        return [{"name": _VOLUME, "mountPath": str(self.directory)}]

    def volumes(self) -> list[Obj]:
        return [] if self.directory is None else [{"name": _VOLUME, "emptyDir": {}}]

    def with_mounts(self, mounts: list[Obj]) -> Obj:
        """The container, as it stands in a pod."""
        container: Obj = deep_copy(self.container)
        if not self.ends_itself:
            container["restartPolicy"] = "Always"
        if mounts:
            container["volumeMounts"] = [*(container.get("volumeMounts") or []), *mounts]
        return container


def sidecar_of(trial: Obj) -> Sidecar | None:
    """The container a trial's pods need beside their own; ``None`` where a log is enough."""
    collector = trial["spec"].get("metricsCollector") or {}
    where = (collector.get("source") or {}).get("fileSystemPath") or {}
    path = PurePosixPath(where["path"]) if where.get("path") else None
    match collector_kind(trial):
        case "File" if path is not None:
            command = ["sh", "-c", _PRINT_FILE, "print-metrics", str(path)]
            container: Obj = {"name": COLLECTOR, "image": _SHELL_IMAGE, "command": command}
            return Sidecar(container, path.parent)
        case "TensorFlowEvent" if path is not None:
            command = ["python", "-m", "kubeling.tuning.collector", str(path)]
            command += metric_names(trial)
            container = {"name": FILE_COLLECTOR, "image": _IMAGE, "command": command}
            return Sidecar(container, path)
        case "Custom":
            own = (collector.get("collector") or {}).get("customCollector") or {}
            folder = path.parent if path and where.get("kind") == "File" else path
            return Sidecar({"name": FILE_COLLECTOR, **own}, folder, ends_itself=True)
    return None
