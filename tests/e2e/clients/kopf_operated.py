"""``kopf`` runs an operator: its handlers, finalizer, events, status and retries."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kopf.testing import KopfRunner

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: plants.kopf.example.com}
spec:
  group: kopf.example.com
  scope: Namespaced
  names: {plural: plants, kind: Plant}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {height: {type: integer}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""
PLANT = """
apiVersion: kopf.example.com/v1
kind: Plant
metadata: {name: fern}
spec: {height: 20}
"""


def kubectl(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["kubectl", *arguments],
        input=stdin,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def fern() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl("get", "plant", "fern", "-o", "json"))
    return found


def until(jsonpath: str, value: object) -> None:
    kubectl("wait", "plant/fern", f"--for=jsonpath={{{jsonpath}}}={value}", "--timeout=30s")


@pytest.fixture(scope="module", autouse=True)
def operator() -> Iterator[None]:
    kubectl("apply", "-f", "-", stdin=DEFINITION)
    file = Path(__file__).with_name("kopf_operator.py")
    arguments = ["run", "--verbose", "--standalone", "--namespace=default", str(file)]
    try:
        with KopfRunner(arguments, timeout=30) as runner:
            yield
    finally:
        kubectl("delete", "crd", "plants.kopf.example.com")
    assert runner.exit_code == 0, runner.output
    assert runner.exception is None
    assert "Traceback" not in runner.output


def test_handlers_run_from_creation_to_deletion() -> None:
    kubectl("apply", "-f", "-", stdin=PLANT)
    until(".status.planted.height", 20)
    until(".metadata.labels.tall", "no")
    until(".status.waterings", 3)
    assert fern()["metadata"]["finalizers"] == ["kopf.example.com/farewell"]

    kubectl("patch", "plant", "fern", "--type=merge", "-p", '{"spec": {"height": 150}}')
    until(".status.refused_at_first.tries", 2)
    until(".status.grown", 130)
    assert fern()["metadata"]["generation"] == 2

    kubectl("delete", "plant", "fern", "--timeout=30s")
    events = json.loads(
        kubectl("get", "events", "--field-selector=involvedObject.kind=Plant", "-o", "json")
    )
    found = {event["reason"]: event for event in events["items"]}
    assert {"Planted", "Uprooted"} <= found.keys()
    assert found["Planted"]["message"] == "20 cm high"
    assert found["Uprooted"]["type"] == "Warning"
