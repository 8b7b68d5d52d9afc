"""The ConfigMap ``kserve/inferenceservice-config``: what an administrator says for all services.

It is where KServe's tools read it, with the keys that mean something here: ``deploy`` (the mode of
services that name none), ``inferenceService`` (resources of containers that ask for none),
``security`` (whether pods get a token) and ``localModel`` (whether caches are looked at). They are
read when a service is written, as upstream's webhook does; what is there already stays as it is.
``service`` (whether Services are headless) and ``credentials`` (what secrets for stores and their
keys are called, and how S3 is asked) are read by the controllers, and hold for all of them.
Other keys are settings of the platform or of parts that are not there, and changing one is answered
by a warning. A cluster's webhooks do not see the ConfigMap, and leave services as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, mapping, mappings, name, namespace, new_object
from kubeling.kube.resources import CONFIG_MAPS, NAMESPACES
from kubeling.serving.credentials import Conventions
from kubeling.serving.names import COMPONENTS, DEPLOYMENT_MODE, STANDARD

__all__ = [
    "CONFIG_LABEL",
    "config_objects",
    "credential_conventions",
    "default_by_config",
    "is_config",
    "local_models_are_used",
    "services_are_headless",
    "validate_config",
    "warn_of_config",
]

_NAMESPACE: Final = "kserve"
_NAME: Final = "inferenceservice-config"
CONFIG_LABEL: Final = "serving.kubeling.io/config"
_MODES: Final = {
    "Standard": STANDARD,
    "RawDeployment": STANDARD,
    "Knative": "",
    "Serverless": "",
}
"""What is written on a service that names no mode: upstream only writes Standard."""
_RESOURCES: Final = {
    "cpuRequest": ("requests", "cpu"),
    "memoryRequest": ("requests", "memory"),
    "cpuLimit": ("limits", "cpu"),
    "memoryLimit": ("limits", "memory"),
}
_SHIPPED: Final[dict[str, Any]] = {
    "credentials": {
        "storageSpecSecretName": "storage-config",
        "storageSecretNameAnnotation": "serving.kserve.io/storageSecretName",
        "gcs": {"gcsCredentialFileName": "gcloud-application-credentials.json"},
        "s3": {
            "s3AccessKeyIDName": "AWS_ACCESS_KEY_ID",
            "s3SecretAccessKeyName": "AWS_SECRET_ACCESS_KEY",
        },
    },
    "deploy": {"defaultDeploymentMode": "Serverless"},
    "inferenceService": {},
    "ingress": {"kserveIngressGateway": "kubeflow/kubeling", "urlScheme": "http"},
    "localModel": {"enabled": True, "jobNamespace": "kserve-localmodel-jobs"},
    "security": {"autoMountServiceAccountToken": True},
    "service": {"serviceClusterIPNone": False},
}
_EFFECTIVE: Final = (
    *("deploy", "inferenceService", "security", "localModel", "service"),
    "credentials",
)
_S3: Final = {
    "s3Endpoint": "S3_ENDPOINT",
    "s3UseHttps": "S3_USE_HTTPS",
    "s3Region": "AWS_DEFAULT_REGION",
    "s3VerifySSL": "S3_VERIFY_SSL",
    "s3UseVirtualBucket": "S3_USER_VIRTUAL_BUCKET",
    "s3UseAccelerate": "S3_USE_ACCELERATE",
    "s3UseAnonymousCredential": "awsAnonymousCredential",
    "s3CABundle": "AWS_CA_BUNDLE",
    "s3CABundleConfigMap": "AWS_CA_BUNDLE_CONFIGMAP",
}
"""How an S3 store is asked where its secret does not say."""


def config_objects() -> Sequence[Obj]:
    """The ConfigMap as it is shipped, and its namespace."""
    data = {key: json.dumps(value, indent=2) for key, value in _SHIPPED.items()}
    labels = {CONFIG_LABEL: "true"}
    return [
        new_object(NAMESPACES, _NAMESPACE),
        new_object(CONFIG_MAPS, _NAME, _NAMESPACE, labels=labels, data=data),
    ]


def default_by_config(isvc: Obj, request: AdmissionRequest) -> None:
    """Fills in what the administrator says, where a service is made or changed."""
    config = _config(request)
    spec = mapping(isvc.get("spec"))
    mode = _MODES.get(str(_section(config, "deploy").get("defaultDeploymentMode") or ""), "")
    annotations = mapping(isvc["metadata"].get("annotations"))
    if mode and request.operation == "CREATE" and DEPLOYMENT_MODE not in annotations:
        isvc["metadata"]["annotations"] = {**annotations, DEPLOYMENT_MODE: mode}
    resources = mapping(_section(config, "inferenceService").get("resource"))
    without_token = _section(config, "security").get("autoMountServiceAccountToken") is False
    for component in (mapping(spec.get(title)) for title in COMPONENTS if title in spec):
        if without_token:
            component.setdefault("automountServiceAccountToken", False)
        for container in _containers(component):
            _default_resources(container, resources)


def local_models_are_used(request: AdmissionRequest) -> bool:
    """Whether services are to look for what LocalModelCaches keep."""
    return _section(_config(request), "localModel").get("enabled", True) is not False


def services_are_headless(find: Callable[[str, str], Obj | None]) -> bool:
    """Whether Services of Standard mode have no address of their own; ``find`` finds ConfigMaps."""
    config = mapping(mapping(find(_NAMESPACE, _NAME)).get("data"))
    return _section(config, "service").get("serviceClusterIPNone") is True


def credential_conventions(find: Callable[[str, str], Obj | None]) -> Conventions:
    """What the administrator says of secrets for stores; ``find`` finds ConfigMaps."""
    config = _section(mapping(mapping(find(_NAMESPACE, _NAME)).get("data")), "credentials")
    s3, usual = mapping(config.get("s3")), Conventions()
    return Conventions(
        str(config.get("storageSpecSecretName") or usual.secret),
        str(config.get("storageSecretNameAnnotation") or usual.annotation),
        str(s3.get("s3AccessKeyIDName") or ""),
        str(s3.get("s3SecretAccessKeyName") or ""),
        str(mapping(config.get("gcs")).get("gcsCredentialFileName") or usual.google),
        {variable: word for key, variable in _S3.items() if (word := _word(s3.get(key)))},
    )


def _word(value: Any) -> str:
    """A switch may be a word, as upstream has it, or what JSON has for it."""
    return str(value).lower() if isinstance(value, bool) else str(value or "")


def is_config(obj: Obj) -> bool:
    """Whether this is the ConfigMap."""
    return (namespace(obj), name(obj)) == (_NAMESPACE, _NAME)


def _containers(component: Obj) -> Iterator[Obj]:
    for title in ("model", "art"):
        if isinstance(component.get(title), dict):
            yield component[title]
    yield from mappings(component.get("containers"))


def _default_resources(container: Obj, given: Obj) -> None:
    for key, (kind, resource) in _RESOURCES.items():
        if given.get(key):
            own = mapping(container.get("resources"))
            amounts = {resource: str(given[key]), **mapping(own.get(kind))}
            container["resources"] = {**own, kind: amounts}


def validate_config(obj: Obj, _: Obj | None, __: AdmissionRequest) -> Iterator[FieldError]:
    """Names what cannot be read; other ConfigMaps are nobody's business here."""
    if not is_config(obj):
        return
    for key, text in mapping(obj.get("data")).items():
        if key not in _SHIPPED:
            continue
        try:
            found = json.loads(str(text))
        except ValueError as error:
            yield FieldError(f"data[{key}]", "Invalid value", f"must be JSON: {error}", text)
            continue
        if not isinstance(found, dict):
            yield FieldError(f"data[{key}]", "Invalid value", "must be a JSON object", text)
        elif key == "deploy" and (mode := found.get("defaultDeploymentMode")) not in _MODES:
            supported = f"defaultDeploymentMode: supported: {', '.join(_MODES)}"
            yield FieldError("data[deploy]", "Unsupported value", supported, mode)


def warn_of_config(obj: Obj, request: AdmissionRequest) -> Iterator[str]:
    """Says which keys change nothing."""
    if not is_config(obj):
        return
    before = mapping(mapping(request.old).get("data"))
    for key, text in mapping(obj.get("data")).items():
        if key not in _EFFECTIVE and before.get(key) != text and not key.startswith("_"):
            yield (
                f"data[{key}]: has no effect here; {', '.join(_EFFECTIVE)} have, and the domain is "
                "a setting of the platform"
            )


def _config(request: AdmissionRequest) -> Obj:
    found = request.find(CONFIG_MAPS, _NAME, _NAMESPACE) if request.find is not None else None
    return mapping(mapping(found).get("data"))


def _section(config: Obj, key: str) -> Obj:
    """A key's content; it was checked when it was written."""
    try:
        return mapping(json.loads(str(config.get(key) or "{}")))
    except ValueError:
        return {}
