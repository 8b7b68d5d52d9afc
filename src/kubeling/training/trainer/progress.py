"""How training reports its progress: where to, with which token. Pure.

The contract is upstream's (its plugin ``trainjobstatus``), which the SDK's
``update_trainjob_status`` follows: an address, a file with a token that is meant for this one job,
and a file with the certificate to trust.
"""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj, name, namespace
from kubeling.training.trainer.merging import replace_by_name, upsert
from kubeling.training.trainer.resources import TRAIN_JOBS
from kubeling.training.trainer.template import containers, pod_spec

__all__ = ["NAMESPACE", "PORT", "SERVICE", "URL", "audience", "behind", "inject", "path"]

SERVICE: Final = "trainer-progress"
NAMESPACE: Final = "kubeflow"
PORT: Final = 10080
URL: Final = f"http://{SERVICE}.{NAMESPACE}.svc:{PORT}"
"""Where progress is taken, unless somebody says otherwise."""

_MOUNT: Final = "/var/run/secrets/kubeflow/trainer"
_VOLUME: Final = "kubeflow-trainer-token"
_SECONDS: Final = 3600


def path(where: str, job: str) -> str:
    """Where progress is posted."""
    return TRAIN_JOBS.path(where, job, "status")


def audience(where: str, job: str) -> str:
    """What the token of the job's pods is for."""
    return path(where, job).removeprefix("/apis/")


def behind(endpoints: Obj) -> str:
    """The address that the Service leads to."""
    for subset in endpoints.get("subsets") or ():
        for address in subset.get("addresses") or ():
            for port in subset.get("ports") or ():
                return f"http://{address['ip']}:{port['port']}"
    return URL


def inject(train_job: Obj, trainer: Obj, url: str) -> None:
    """Gives the training containers what they need to report."""
    where, job = namespace(train_job), name(train_job)
    told = {
        "KUBEFLOW_TRAINER_SERVER_URL": f"{url.rstrip('/')}{path(where, job)}",
        "KUBEFLOW_TRAINER_SERVER_CA_CERT": f"{_MOUNT}/ca.crt",
        "KUBEFLOW_TRAINER_SERVER_TOKEN": f"{_MOUNT}/token",
    }
    variables = [{"name": key, "value": value} for key, value in told.items()]
    mount = {"name": _VOLUME, "mountPath": _MOUNT, "readOnly": True}
    for container in containers(trainer):
        container["env"] = replace_by_name(container.get("env") or [], variables)
        before = container.get("volumeMounts") or []
        container["volumeMounts"] = upsert(before, [mount], "mountPath")
    pod = pod_spec(trainer)
    pod["volumes"] = upsert(pod.get("volumes") or [], [_volume(where, job)], "name")


def _volume(where: str, job: str) -> Obj:
    token = {
        "audience": audience(where, job),
        "expirationSeconds": _SECONDS,
        "path": "token",
    }
    authority = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    sources = [{"serviceAccountToken": token}, {"configMap": authority}]
    return {"name": _VOLUME, "projected": {"sources": sources}}
