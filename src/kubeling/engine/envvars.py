"""A container's environment, resolved as the kubelet does. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kubeling.engine.envfiles import EnvFileError, read_variable
from kubeling.engine.fields import PodFacts, field_value, resource_value
from kubeling.engine.sources import MissingSource, Sources
from kubeling.kube.objects import Obj

__all__ = [
    "api_env",
    "decode_config_map",
    "decode_secret",
    "expand",
    "expand_all",
    "resolve_env",
    "service_env",
    "unknown_references",
]

_REFERENCE: Final = re.compile(r"\$\$|\$\(([A-Za-z0-9_.\-]*)\)")


def resolve_env(
    container: Mapping[str, Any],
    facts: PodFacts,
    sources: Sources,
    base: Mapping[str, str],
    volumes: Mapping[str, Path],
) -> dict[str, str]:
    """The variables of a container on top of ``base`` (services, image defaults).

    ``volumes`` are where files of variables are found.

    Raises :class:`~kubeling.engine.sources.MissingSource` or
    :class:`~kubeling.engine.fields.FieldError`.
    """
    env = dict(base)
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix") or ""
        env.update({prefix + key: value for key, value in _all_of(source, sources).items()})
    for variable in container.get("env") or ():
        if reference := (variable.get("valueFrom") or {}).get("fileKeyRef"):
            value = _from_file(reference, volumes)
        else:
            value = _value(variable, container["name"], facts, sources, env)
        if value is not None:
            env[variable["name"]] = value
    return env


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replaces ``$(NAME)``; unknown names stay as they are and ``$$`` is a dollar sign."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)


def unknown_references(text: str, env: Mapping[str, str]) -> list[str]:
    """The names in ``$(NAME)`` that there is no variable of."""
    found = (match[1] for match in _REFERENCE.finditer(text) if match[0] != "$$")
    return [name for name in found if name not in env]


def expand_all(texts: Sequence[str], env: Mapping[str, str]) -> list[str]:
    return [expand(text, env) for text in texts]


def service_env(services: Iterable[Obj]) -> dict[str, str]:
    """``<NAME>_SERVICE_HOST`` and ``_PORT`` of the Services in the pod's namespace."""
    env: dict[str, str] = {}
    for service in services:
        spec = service.get("spec") or {}
        ports = spec.get("ports") or []
        if spec.get("clusterIP") in (None, "", "None") or not ports:
            continue
        env.update(_of_service(_variable(service["metadata"]["name"]), spec["clusterIP"], ports))
    return env


def api_env(host: str, port: int) -> dict[str, str]:
    """The variables by which programs find the API: those of the Service ``kubernetes``."""
    return _of_service("KUBERNETES", host, [{"name": "https", "port": port}])


def _of_service(prefix: str, address: str, ports: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    env = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for index, port in enumerate(ports):
        number, protocol = port["port"], str(port.get("protocol") or "TCP")
        if name := port.get("name"):
            env[f"{prefix}_SERVICE_PORT_{_variable(name)}"] = str(number)
        url = f"{protocol.lower()}://{address}:{number}"
        if index == 0:
            env[f"{prefix}_PORT"] = url
        link = f"{prefix}_PORT_{number}_{protocol}"
        env |= {link: url, f"{link}_PROTO": protocol.lower()}
        env |= {f"{link}_PORT": str(number), f"{link}_ADDR": address}
    return env


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")


def decode_secret(secret: Obj) -> dict[str, bytes]:
    """A Secret's entries."""
    data = {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
    data.update({k: v.encode() for k, v in (secret.get("stringData") or {}).items()})
    return data


def decode_config_map(config_map: Obj) -> dict[str, bytes]:
    """A ConfigMap's entries, text and binary."""
    data = {key: str(value).encode() for key, value in (config_map.get("data") or {}).items()}
    binary = config_map.get("binaryData") or {}
    data.update({key: base64.b64decode(value) for key, value in binary.items()})
    return data


def _all_of(source: Mapping[str, Any], sources: Sources) -> dict[str, str]:
    if reference := source.get("configMapRef"):
        optional = bool(reference.get("optional"))
        found = sources.get("configmap", reference["name"], optional=optional)
        return {k: str(v) for k, v in ((found or {}).get("data") or {}).items()}
    if reference := source.get("secretRef"):
        optional = bool(reference.get("optional"))
        found = sources.get("secret", reference["name"], optional=optional)
        return {k: v.decode(errors="replace") for k, v in decode_secret(found or {}).items()}
    return {}


def _from_file(reference: Mapping[str, Any], volumes: Mapping[str, Path]) -> str | None:
    """A variable from a file that an earlier container left in a volume."""
    volume, path = volumes.get(reference["volumeName"]), reference["path"]
    file = (volume / path).resolve() if volume is not None else None
    if volume is None or file is None or not file.is_relative_to(volume.resolve()):
        raise MissingSource(f'fileKeyRef: there is no file "{path}" in a volume of the pod')
    try:
        value = read_variable(file.read_text(), reference["key"])
    except FileNotFoundError:
        value = None
    except (OSError, ValueError, EnvFileError) as error:
        raise MissingSource(f'couldn\'t parse env file "{path}": {error}') from None
    if value is None and not reference.get("optional"):
        text = f'environment variable key "{reference["key"]}" not found in file "{path}"'
        raise MissingSource(text)
    return value


def _value(
    variable: Mapping[str, Any],
    container: str,
    facts: PodFacts,
    sources: Sources,
    env: Mapping[str, str],
) -> str | None:
    origin = variable.get("valueFrom") or {}
    if reference := origin.get("fieldRef"):
        return field_value(facts, reference["fieldPath"])
    if reference := origin.get("resourceFieldRef"):
        return resource_value(facts, reference, container)
    if reference := origin.get("configMapKeyRef"):
        return _key(sources, "configmap", reference)
    if reference := origin.get("secretKeyRef"):
        return _key(sources, "secret", reference)
    return expand(str(variable.get("value") or ""), env)


def _key(sources: Sources, kind: Any, reference: Mapping[str, Any]) -> str | None:
    optional = bool(reference.get("optional"))
    found = sources.get(kind, reference["name"], optional=optional)
    if found is None:
        return None
    entries = decode_secret(found) if kind == "secret" else decode_config_map(found)
    if (value := entries.get(reference["key"])) is None:
        if optional:
            return None
        place = f"{found['metadata'].get('namespace', '')}/{reference['name']}"
        raise MissingSource(f"couldn't find key {reference['key']} in {kind} {place}")
    return value.decode(errors="replace")
