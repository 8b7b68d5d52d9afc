"""The settings of kfp-kubernetes, and the environment that steps ask for, on the pods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from tests.pipelines.test_controller import controllers, ended, pod_of, succeed

from kubeling.component import Context
from kubeling.kube import yaml
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import PERSISTENT_VOLUME_CLAIMS
from kubeling.pipelines.bootstrap import PACKAGES_ANNOTATION, declared_packages
from kubeling.pipelines.resources import RUNS

COMPILED = Path(__file__).parent / "compiled"


def compiled(name: str) -> tuple[Obj, Obj]:
    """A file that the kfp compiler wrote: the pipeline and its platform settings."""
    pipeline, *platform = yaml.load_all((COMPILED / name).read_text())
    return pipeline, platform[0] if platform else {}


async def test_settings_reach_the_pod(context: Context) -> None:
    pipeline, platform = compiled("kubernetes.yaml")
    spec = {"pipelineSpec": pipeline, "platformSpec": platform}
    async with controllers(context):
        await context.client.create(RUNS, new_object(RUNS, "r", "default", spec=spec))
        pod = await pod_of(context, "a")
        claims = await context.client.list(PERSISTENT_VOLUME_CLAIMS, "default")
        assert [claim["metadata"]["name"] for claim in claims.items] == ["r-x"]
        await succeed(context, pod)
        await ended(context, state="SUCCEEDED")
        claims = await context.client.list(PERSISTENT_VOLUME_CLAIMS, "default")
        assert claims.items == [] or "deletionTimestamp" in claims.items[0]["metadata"]
    container = pod["spec"]["containers"][0]
    env = {e["name"]: e.get("valueFrom") for e in container["env"]}
    assert env["E"]["secretKeyRef"] == {"name": "sec", "key": "k"}
    assert env["E2"]["configMapKeyRef"] == {"name": "cm", "key": "k"}
    assert env["POD"]["fieldRef"]["fieldPath"] == "metadata.name"
    mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
    assert mounts.keys() >= {"/q", "/cm", "/d", "/e", "/ev", "/kfp-workspace"}
    assert mounts["/d"]["subPath"] == "s"
    volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
    assert volumes[mounts["/d"]["name"]]["persistentVolumeClaim"]["claimName"] == "r-x"
    assert pod["spec"]["nodeSelector"] == {"a": "b"}
    assert pod["spec"]["activeDeadlineSeconds"] == 20
    assert pod["metadata"]["labels"]["l"] == "v"
    assert container["securityContext"] == {"runAsUser": 1000}
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert container["resources"]["requests"]["cpu"] == "100m"


async def test_packages_are_declared_and_not_installed_by_the_step(context: Context) -> None:
    pipeline, platform = compiled("kubernetes.yaml")
    spec = {"pipelineSpec": pipeline, "platformSpec": platform}
    async with controllers(context):
        await context.client.create(RUNS, new_object(RUNS, "r", "default", spec=spec))
        pod = await pod_of(context, "a")
    declared = msgspec.json.decode(pod["metadata"]["annotations"][PACKAGES_ANNOTATION])
    assert declared["main"]["bare"][0] == "kfp==2.17.3"
    script = pod["spec"]["containers"][0]["command"][2]
    assert script.startswith('[ -n "$KUBELING_PACKAGES_READY" ] && exec "$0" "$@"\n')
    assert "pip install" in script, "a node that does not know the declaration installs"


def bootstrap(install: str) -> list[str]:
    return ["sh", "-c", f'python3 -m pip install {install} && "$0" "$@"', "sh", "-ec", "main"]


def packages_of(install: str) -> Any:
    found = declared_packages(bootstrap(install))
    return found[0] if found else None


def test_installation_commands_are_understood_or_left_alone() -> None:
    found = packages_of("--quiet 'pandas>=2' && python3 -m pip install 'kfp==2.17.3' '--no-deps'")
    assert found.requirements == ("pandas>=2",)
    assert found.bare == ("kfp==2.17.3",)
    assert packages_of("--index-url https://example.com/simple pandas") is None
    pypi = "--index-url https://pypi.org/simple --trusted-host https://pypi.org/simple"
    assert packages_of(f"{pypi} 'yapf'").requirements == ("yapf",)
    assert declared_packages(["python", "train.py"]) is None
    assert declared_packages(["sh", "-c", "echo", "x"]) is None
