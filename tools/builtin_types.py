"""Writes the table of Kubernetes' built-in types that the embedded API server validates with.

Reads the published protobuf and Go declarations and keeps only wire facts: names, types, numbers,
requiredness, list and merge semantics. Usage:

    builtin_types.py API APIMACHINERY APIEXTENSIONS METRICS AGGREGATOR

where each argument is a git directory of the repository of that name.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "src/kubeling/apiserver/builtin/types.json"
GROUPS = (
    "core/v1", "apps/v1", "batch/v1", "autoscaling/v1", "autoscaling/v2", "rbac/v1", "policy/v1",
    "networking/v1", "storage/v1", "coordination/v1", "discovery/v1", "events/v1", "scheduling/v1",
    "admissionregistration/v1", "authentication/v1", "authorization/v1", "certificates/v1",
    "node/v1", "flowcontrol/v1",
)  # fmt: skip
SCALARS = {"string", "bool", "bytes", "int32", "int64", "double"}
NULLABLE = {*SCALARS, "intstr"}
WELL_KNOWN = {
    ".k8s.io.apimachinery.pkg.apis.meta.v1.Time": "time",
    ".k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime": "microtime",
    ".k8s.io.apimachinery.pkg.apis.meta.v1.Duration": "duration",
    ".k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1": "fields",
    ".k8s.io.apimachinery.pkg.api.resource.Quantity": "quantity",
    ".k8s.io.apimachinery.pkg.util.intstr.IntOrString": "intstr",
    ".k8s.io.apimachinery.pkg.runtime.RawExtension": "raw",
}
# Types with a JSON form of their own.
CUSTOM_JSON = {
    "JSON", "JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray",
}  # fmt: skip
FIELD = re.compile(
    r"^\s*(?P<label>optional|repeated|required)?\s*(?P<type>map<[^>]+>|[.\w]+)"
    r"\s+(?P<name>\w+)\s*=\s*(?P<number>\d+)"
)
POINTER = re.compile(r"\s*\w+\s+\*")
GO_FIELD = re.compile(r'`json:"(?P<json>[^"]*)"(?P<rest>[^`]*)`')


def show(repository: str, path: str) -> str:
    """A file of the newest commit."""
    command = ["git", "-C", repository, "show", f"HEAD:{path}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def go_tags(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    """``(struct, protobuf name)`` to the JSON name, and whether inlined or optional."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    struct, optional = "", False
    for line in text.splitlines():
        if opened := re.match(r"type (\w+) struct", line):
            struct = opened[1]
        if line.strip().startswith("// +optional"):
            optional = True
        tag = GO_FIELD.search(line)
        if tag:
            name, _, flags = tag["json"].partition(",")
            proto = re.search(r'protobuf:"[^"]*name=(\w+)', tag["rest"])
            proto_name = proto[1] if proto else embedded_name(line) if not name else ""
            if proto_name:
                found[struct, proto_name] = {
                    "json": name,
                    "inline": not name,
                    "pointer": POINTER.match(line) is not None,
                    "optional": optional or "omitempty" in flags or "omitzero" in flags,
                }
            optional = False
        elif not line.strip().startswith("//"):
            optional = False
    return found


def embedded_name(line: str) -> str:
    """What protobuf calls an embedded struct whose tag does not say: its type, in lower case."""
    words = line.split()
    return words[0][:1].lower() + words[0][1:] if words and words[0].isidentifier() else ""


def parse(proto: str, go: str) -> dict[str, dict[str, Any]]:
    """The messages of one package by full name."""
    package = re.search(r"^package ([\w.]+);", proto, re.M)
    assert package
    prefix = definition(package[1])
    tags, types = go_tags(go), {}
    message, markers = "", []
    for line in proto.splitlines():
        text = line.strip()
        if opened := re.match(r"message (\w+) \{", text):
            message, markers = opened[1], []
            types[f"{prefix}.{message}"] = {}
        elif text == "}":
            message = ""
        elif text.startswith("//"):
            markers.append(text[2:].strip())
        elif message and (field := FIELD.match(line)):
            entry = tags.get((message, field["name"]), {})
            types[f"{prefix}.{message}"][entry.get("json") or field["name"]] = row(
                field, entry, markers, package[1]
            )
            markers = []
        elif not text:
            continue
    return types


def row(field: re.Match[str], tag: dict[str, Any], markers: list[str], package: str) -> list[Any]:
    """``[number, container, type, facts]`` of one field."""
    written = field["type"]
    container = "[]" if field["label"] == "repeated" else ""
    if written.startswith("map<"):
        container, written = "{}", written[4:-1].split(",")[1].strip()
    facts: dict[str, Any] = {}
    if tag and not tag["optional"] and not tag["inline"] and "+optional" not in markers:
        facts["required"] = 1
    if tag.get("inline"):
        facts["inline"] = 1
    if tag.get("pointer") and not container and type_name(written, package) in NULLABLE:
        facts["pointer"] = 1
    for marker in markers:
        value = marker.partition("=")[2]
        if marker.startswith("+patchMergeKey"):
            facts["mergeKey"] = value
        elif marker.startswith("+patchStrategy"):
            facts["patch"] = value
        elif marker.startswith("+listType="):
            facts["list"] = value
        elif marker.startswith("+listMapKey="):
            facts.setdefault("keys", []).append(value)
        elif marker.startswith("+default=") and written in SCALARS and "ref(" not in value:
            facts["default"] = json.loads(value)
        elif marker.startswith(("+structType=atomic", "+mapType=atomic")):
            facts["atomic"] = 1
    entry = [int(field["number"]), container, type_name(written, package)]
    return [*entry, facts] if facts else entry


def type_name(written: str, package: str) -> str:
    """A scalar's own name, or the full name of a definition."""
    if written in SCALARS:
        return written
    full = written if written.startswith(".") else f".{package}.{written}"
    if full in WELL_KNOWN:
        return WELL_KNOWN[full]
    if full.rpartition(".")[2] in CUSTOM_JSON:
        return "any:" + definition(full[1:])
    return definition(full[1:])


def definition(package: str) -> str:
    """OpenAPI's spelling of a protobuf name."""
    return (
        package.replace("k8s.io.", "io.k8s.", 1)
        .replace("apiextensions_apiserver", "apiextensions-apiserver")
        .replace("kube_aggregator", "kube-aggregator")
    )


def is_known(type_: str, types: dict[str, Any]) -> bool:
    """Whether a field's type is a scalar or a definition of the table."""
    return "." not in type_ or type_.startswith("any:") or type_ in types


def main(api: str, machinery: str, extensions: str, metrics: str, aggregator: str) -> None:
    """Writes the table."""
    sources = [(api, group) for group in GROUPS]
    sources += [
        (machinery, "pkg/apis/meta/v1"),
        (extensions, "pkg/apis/apiextensions/v1"),
        (metrics, "pkg/apis/metrics/v1beta1"),
        (aggregator, "pkg/apis/apiregistration/v1"),
    ]
    types: dict[str, dict[str, Any]] = {}
    for repository, folder in sources:
        go = show(repository, f"{folder}/types.go")
        if folder == "pkg/apis/apiextensions/v1":
            go += show(repository, f"{folder}/types_jsonschema.go")
        types |= parse(show(repository, f"{folder}/generated.proto"), go)
    # Alpha types of groups that are not served would lead nowhere.
    types = {
        name: {key: row for key, row in fields.items() if is_known(row[2], types)}
        for name, fields in types.items()
    }
    lines = [
        f"{json.dumps(name)}:{json.dumps(fields, separators=(',', ':'))}"
        for name, fields in sorted(types.items())
    ]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
