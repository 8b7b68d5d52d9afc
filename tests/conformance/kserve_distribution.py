"""The acceptance test of serving in a Kubeflow distribution.

``manifests`` is a checkout of kubeflow/manifests: its ``tests/kserve_sklearn_test.py``, and those
parts of ``tests/kserve_test.sh`` that are about KServe, unmodified. Istio's kinds are there, and
mean nothing: what its policies allow, ``serving.authentication`` and the roles of profiles do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.conformance.kserve import outside
from tests.conformance.rows import Case, Platform, Row
from tests.support.client_python import python_with

__all__ = ["ENVIRONMENT", "cases", "outside", "run"]

ENVIRONMENT: Final = {"KUBELING_SERVING_AUTHENTICATION": "true"}

_GROUP: Final = "Kubeflow distribution"
_NAMESPACE: Final = "kubeflow-user-example-com"
_NEEDS: Final = ("kserve==0.21.0", "kubernetes<36", "pytest", "requests")
_WITHIN: Final = 600
_PARTS: Final = {
    "tests 1 and 2: by the SDK, by path and by host": ("# Test 1:", "# Test 3:"),
    "test 7: Standard mode": ("# Test 7:", "# Cleanup"),
}
_SKIPPED: Final = {
    "test 3: the models web application": "its application is the dashboard here",
    "tests 4 to 6: Knative's Services": "needs Knative's Services",
}


def cases(upstream: Path) -> list[Case]:
    """The test of the SDK, and the parts of the script."""
    tests = upstream / "manifests" / "tests"
    found = [Case("kserve_sklearn_test.py", _GROUP, tests / "kserve_sklearn_test.py")]
    script = tests / "kserve_test.sh"
    text = script.read_text()
    for name, (begin, end) in _PARTS.items():
        part = text[: text.index("# ====")] + text[text.index(begin) : text.index(end)]
        found.append(Case(f"kserve_test.sh, {name}", _GROUP, script, text=part))
    found += [
        Case(f"kserve_test.sh, {name}", _GROUP, script, skip=w) for name, w in _SKIPPED.items()
    ]
    return found


def run(chosen: Sequence[Case], platform: Platform) -> Iterator[Row]:
    """Runs them one after the other."""
    if any(not case.skip for case in chosen):
        _prepare(platform)
    for case in chosen:
        if case.skip:
            yield Row(case.name, case.group, "not runnable", case.skip)
        else:
            yield _ran(case, platform)


def _prepare(platform: Platform) -> None:
    """A profile, and as much of Istio as the tests write to and read."""
    policy = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "authorizationpolicies.security.istio.io"},
        "spec": {
            "group": "security.istio.io",
            "names": {"kind": "AuthorizationPolicy", "plural": "authorizationpolicies"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1beta1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": True,
                        }
                    },
                }
            ],
        },
    }
    profile = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "Profile",
        "metadata": {"name": _NAMESPACE},
        "spec": {"owner": {"kind": "User", "name": "user@example.com"}},
    }
    istio = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}}
    ingress = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "istio-ingressgateway", "namespace": "istio-system"},
        "spec": {"ports": [{"port": 80}]},
    }
    _apply(platform, policy, profile, istio, ingress)
    for kind in ("serviceaccount", "rolebinding"):
        there = ("wait", "--for=create", f"{kind}/default-editor", "-n", _NAMESPACE)
        platform.kubectl(*there, "--timeout=60s").check_returncode()


def _ran(case: Case, platform: Platform) -> Row:
    python = python_with(*_NEEDS)
    command = ["bash", "-c", case.text, str(case.path)]
    if not case.text:
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", str(case.path)]
    kubectl = Path(sys.executable).parent
    token = platform.kubectl("create", "token", "default-editor", "-n", _NAMESPACE)
    environment = {
        **os.environ,
        "KUBECONFIG": str(platform.kubeconfig),
        "KSERVE_INGRESS_HOST_PORT": urlsplit(platform.url).netloc,
        "KSERVE_M2M_TOKEN": token.stdout.strip(),
        "KSERVE_TEST_NAMESPACE": _NAMESPACE,
        "PATH": f"{python.parent}{os.pathsep}{kubectl}{os.pathsep}{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        command,
        cwd=case.path.parent,
        env=environment,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_WITHIN,
    )
    if done.returncode == 0:
        return Row(case.name, case.group, "passed")
    said = [line for line in done.stdout.splitlines() if line.strip()] or ["it failed"]
    failed = [line for line in said if line.startswith(("FAIL", "E  "))]
    return Row(case.name, case.group, "failed", (failed or said)[-1].strip()[:300])


def _apply(platform: Platform, *objects: dict[str, Any]) -> None:
    for obj in objects:
        platform.kubectl("apply", "-f", "-", stdin=json.dumps(obj)).check_returncode()
