"""Registers a model's folder as a version in the Model Registry, over its REST API.

Usage: register.py NAME VERSION FOLDER [KEY=VALUE ...]

The registry's address is $MODEL_REGISTRY_BASE_URL (kubeling env sets it). Running it again changes
nothing. The model-registry SDK does the same with register_model().
"""

import json
import os
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

BASE = os.environ["MODEL_REGISTRY_BASE_URL"].rstrip("/") + "/api/model_registry/v1alpha3"


def call(method: str, path: str, body: dict | None = None, **query: str) -> dict:
    url = f"{BASE}/{path}" + (f"?{urlencode(query)}" if query else "")
    data = json.dumps(body).encode() if body is not None else None
    request = Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def find_or_create(kind: str, body: dict, **query: str) -> dict:
    try:
        return call("GET", kind, **query)
    except HTTPError as error:
        if error.code != 404:
            raise
    return call("POST", f"{kind}s", body)


def main(name: str, version: str, folder: Path, properties: dict[str, str]) -> None:
    model = find_or_create("registered_model", {"name": name}, name=name)
    custom = {
        key: {"metadataType": "MetadataStringValue", "string_value": value}
        for key, value in properties.items()
    }
    body = {"name": version, "registeredModelId": model["id"], "customProperties": custom}
    made = find_or_create("model_version", body, name=version, parentResourceId=model["id"])
    path = f"model_versions/{made['id']}/artifacts"
    if not call("GET", path).get("items"):
        artifact = {
            "artifactType": "model-artifact",
            "name": f"{name}-{version}",
            "uri": folder.resolve().as_uri(),
            "modelFormatName": "xgboost",
        }
        call("POST", path, artifact)
    print(f"{name} {version}: version {made['id']} at {folder.resolve().as_uri()}")


if __name__ == "__main__":
    pairs = dict(word.split("=", 1) for word in sys.argv[4:])
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), pairs)
