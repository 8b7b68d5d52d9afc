"""What a service's spec asks for: the pods of its components, made from all that it refers to.

Runtimes, storage containers, secrets and registered models are read here, so that what follows is
decided from plain data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kubeling.component import Context
from kubeling.kube import objects
from kubeling.kube.objects import Obj, namespace
from kubeling.kube.resources import CONFIG_MAPS, SECRETS
from kubeling.serving import credentials, planning, templates
from kubeling.serving.accounts import account_access
from kubeling.serving.configuration import credential_conventions
from kubeling.serving.mounts import model_of
from kubeling.serving.names import ComponentName
from kubeling.serving.registered import RegisteredModels
from kubeling.serving.resources import CLUSTER_SERVING_RUNTIMES, SERVING_RUNTIMES
from kubeling.serving.runtimes import select_runtime
from kubeling.serving.storage_containers import (
    CLUSTER_STORAGE_CONTAINERS,
    StorageContainers,
)
from kubeling.serving.tracing import add_of_platform, gateway_variables

__all__ = ["Wanted"]

_BUCKETS: Final = ("s3://", "gs://", "minio://")
_ON_THE_NODE: Final = ("pvc://", "file://", "/", "oci+native://")
_IMAGES: Final = ("oci://", "oci+fetch://")


class Wanted:
    """Reads what services refer to.

    Raises :class:`ModelNotRegistered`, :class:`RuntimeNotFound` and :class:`StorageNotFound` for
    what is not there.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._informers = context.informers
        self._tracing = gateway_variables(context.settings)
        self._config = context.informers.of(CONFIG_MAPS).get
        self._models = RegisteredModels(context.settings.gateway_url)

    def forget(self, isvc: Obj) -> None:
        """Lets go of a deleted service."""
        self._models.forget(isvc)

    async def of(self, isvc: Obj) -> planning.Desired:
        """The pods that a service asks for."""
        isvc = await self._models.resolved(isvc)
        spec = isvc["spec"]
        runtime = None
        if model := spec["predictor"].get("model"):
            runtime = select_runtime(
                model,
                self._informers.of(SERVING_RUNTIMES).list(namespace(isvc)),
                self._informers.of(CLUSTER_SERVING_RUNTIMES).list(),
            )
        containers = StorageContainers(
            self._informers.of(CLUSTER_STORAGE_CONTAINERS).list(),
            spec["predictor"].get("storageContainerName"),
        )
        access = await self._access(isvc, spec["predictor"], containers)
        made: dict[ComponentName, templates.PodTemplate] = {
            "predictor": templates.predictor(
                isvc, runtime, access, containers, await self._recording(isvc, "predictor")
            )
        }
        if transformer := spec.get("transformer"):
            recording = await self._recording(isvc, "transformer")
            access = await self._access(isvc, transformer, containers)
            made["transformer"] = templates.transformer(isvc, recording, access, containers)
        if explainer := spec.get("explainer"):
            recording = await self._recording(isvc, "explainer")
            access = await self._access(isvc, explainer, containers)
            made["explainer"] = templates.explainer(isvc, recording, access, containers)
        digest = templates.digest(*made.values())
        for component, template in made.items():
            # Where the platform's traces go makes no revision.
            add_of_platform(isvc, component, template["spec"], self._tracing)
        return planning.Desired(made, digest, runtime)

    async def _access(
        self, isvc: Obj, component: Obj, containers: StorageContainers
    ) -> credentials.Access:
        """The way to the component's store, from the secrets that the spec leads to."""
        model, said = model_of(component), credential_conventions(self._config)
        named = objects.annotations(isvc).get(said.annotation)
        if storage := model.get("storage"):
            title = named or said.secret
            secret = await self._client.find(SECRETS, title, namespace(isvc))
            return credentials.from_storage_config(
                secret, storage.get("key") or "", storage.get("parameters") or {}, title=title
            )
        uris = [model.get("storageUri") or ""]
        uris += [entry.get("uri", "") for entry in component.get("storageUris") or ()]
        # No address at all means models that come later, from anywhere.
        given = [uri for uri in uris if uri]
        if given and not any(
            not uri.startswith(_ON_THE_NODE) or containers.of(uri) for uri in given
        ):
            return credentials.Access()
        if named:
            secrets = await self._secrets([named], namespace(isvc))
            return credentials.from_secrets(secrets, conventions=said)
        account = component.get("serviceAccountName") or "default"
        secrets = []
        if any(uri.startswith(_IMAGES) for uri in given):
            pulling = [entry.get("name", "") for entry in component.get("imagePullSecrets") or ()]
            secrets = await self._secrets(pulling, namespace(isvc))
        return await account_access(self._client, namespace(isvc), account, secrets, said)

    async def _recording(self, isvc: Obj, component: ComponentName) -> credentials.Access:
        """The way to the bucket that a component's requests are recorded in."""
        content = isvc["spec"][component]
        logger = content.get("logger") or {}
        if not str(logger.get("url") or "").startswith(_BUCKETS):
            return credentials.Access()
        storage, said = logger.get("storage") or {}, credential_conventions(self._config)
        if key := storage.get("key"):
            secret = await self._client.find(SECRETS, said.secret, namespace(isvc))
            found = {k: v for k, v in (storage.get("parameters") or {}).items() if k != "format"}
            field = f"spec.{component}.logger.storage.key"
            return credentials.from_storage_config(secret, key, found, field, said.secret)
        account = storage.get("serviceAccountName") or content.get("serviceAccountName")
        where = namespace(isvc)
        return await account_access(self._client, where, account or "default", conventions=said)

    async def _secrets(self, titles: Sequence[str], where: str) -> list[Obj]:
        found = [await self._client.find(SECRETS, title, where) for title in titles]
        return [secret for secret in found if secret is not None]
