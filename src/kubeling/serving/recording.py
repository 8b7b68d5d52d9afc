"""Where a component's requests are recorded: from its ``logger`` to what its pods are told.

The ``logger`` field, or the annotation ``serving.kubeling.io/request-log`` for the whole service,
becomes :class:`~.requestlog.record.LogSettings` with the volume and the credentials they need.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kubeling.kube import objects
from kubeling.kube.durations import parse_duration
from kubeling.kube.objects import Obj, deep_copy
from kubeling.serving.credentials import Access
from kubeling.serving.names import LOG_FAILURES, REQUEST_LOG
from kubeling.serving.requestlog.record import PREFIX, LogSettings
from kubeling.serving.storage.uris import parse_uri

__all__ = ["LOG_VOLUME_PATH", "add_log_volume", "arguments_of", "log_access", "log_of", "logger_of"]

LOG_VOLUME_PATH: Final = "/mnt/request-log"
_VOLUME: Final = "request-log"
_SENT: Final = ("http://", "https://", "s3://", "gs://", "minio://", "metadata://")
_CREDENTIALS: Final = "logger"
_CREDENTIALS_PATH: Final = "/var/secrets/logger"


def logger_of(isvc: Obj, component: Obj, *, built_in: bool) -> Mapping[str, Any] | None:
    """A component's ``logger``; the annotation stands in for it where our own server runs."""
    logger: Mapping[str, Any] | None = component.get("logger")
    if logger is not None:
        return logger
    annotation = objects.annotations(isvc).get(REQUEST_LOG, "")
    if not built_in or annotation in ("", "false"):
        return None
    return {"url": "" if annotation == "true" else annotation}


def log_of(isvc: Obj, logger: Mapping[str, Any]) -> LogSettings:
    """What the pods are told; a folder by its place in them."""
    found = objects.annotations(isvc)
    storage = logger.get("storage") or {}
    parameters = storage.get("parameters") or {}
    url = str(logger.get("url") or "")
    sent = url.startswith(_SENT)
    of_files = sent and not url.startswith(("http://", "https://", "metadata://"))
    settings = LogSettings(
        url=url if sent else LOG_VOLUME_PATH,
        mode=logger.get("mode") or "all",
        metadata_headers=list(logger.get("metadataHeaders") or ()),
        annotations={k: found[k] for k in logger.get("metadataAnnotations") or () if k in found},
        path=storage.get("path") or "",
        format=parameters.get("format") or ("json" if of_files else ""),
        batch_size=logger.get("batchSize") or 1,
        failures=found.get(LOG_FAILURES) == "true",
    )
    if interval := logger.get("batchInterval"):
        settings.batch_interval = parse_duration(interval)
    return settings


def arguments_of(settings: LogSettings) -> list[str]:
    """The server's flags for them."""
    plain = LogSettings(settings.url, settings.mode)
    if settings == plain:
        return [f"--request_log={settings.url}", f"--log_mode={settings.mode}"]
    return [f"--logger={msgspec.json.encode(settings).decode()}"]


def add_log_volume(logger: Mapping[str, Any], pod: Obj, container: Obj) -> None:
    """The folder that the log is written to, if it is one."""
    url = str(logger.get("url") or "")
    if url.startswith(_SENT):
        return
    pod["volumes"] = [*(pod.get("volumes") or ()), {"name": _VOLUME, **_volume(url)}]
    mount = {"name": _VOLUME, "mountPath": LOG_VOLUME_PATH}
    if url.startswith("pvc://") and (below := parse_uri(url).path.strip("/")):
        mount["subPath"] = below
    container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]


def log_access(access: Access, pod: Obj, container: Obj) -> None:
    """Hands a container the log's way to its store, apart from the model's."""
    places = {m["mountPath"]: f"{_CREDENTIALS_PATH}/{m['name']}" for m in access.mounts}
    for variable in access.env:
        renamed = {**deep_copy(variable), "name": f"{PREFIX}{variable['name']}"}
        if "value" in renamed:
            renamed["value"] = _moved(renamed["value"], places)
        container["env"].append(renamed)
    for volume in access.volumes:
        named = {**volume, "name": f"{_CREDENTIALS}-{volume['name']}"}
        pod["volumes"] = [*(pod.get("volumes") or ()), named]
    for mount in access.mounts:
        shown = {
            **mount,
            "name": f"{_CREDENTIALS}-{mount['name']}",
            "mountPath": places[mount["mountPath"]],
        }
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), shown]


def _moved(value: str, places: Mapping[str, str]) -> str:
    """A path below one of the places, where that is now; of two the one within the other counts."""
    for place in sorted(places, key=len, reverse=True):
        if value == place or value.startswith(f"{place}/"):
            return places[place] + value.removeprefix(place)
    return value


def _volume(url: str) -> Obj:
    if not url:
        return {"emptyDir": {"sizeLimit": "64Mi"}}
    address = parse_uri(url)
    if address.scheme == "pvc":
        return {"persistentVolumeClaim": {"claimName": address.root}}
    return {"hostPath": {"path": address.path, "type": "DirectoryOrCreate"}}
