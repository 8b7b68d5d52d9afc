"""What a Workflow has beside its pods while it runs: claimed volumes and a disruption budget."""

from __future__ import annotations

import contextlib
from typing import Final

from kubeling.kube.client import Client
from kubeling.kube.errors import AlreadyExists, BadRequest, Invalid, NotFound
from kubeling.kube.objects import Obj, deep_copy, is_owned_by, name, namespace, new_object
from kubeling.kube.resources import PERSISTENT_VOLUME_CLAIMS, Resource
from kubeling.workflows.pods import LABEL_WORKFLOW
from kubeling.workflows.resources import WORKFLOWS
from kubeling.workflows.specs import claim_name, claimed_volumes

__all__ = ["Belongings", "NoClaim"]

_BUDGETS: Final = Resource(
    "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, ("pdb",)
)


class NoClaim(Exception):
    """A claim cannot be made, or one of that name belongs to somebody else."""


class Belongings:
    """Makes them when a Workflow begins, and removes them after its end."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def make(self, workflow: Obj, spec: Obj) -> list[Obj]:
        """Makes what is missing; returns the claimed volumes. Raises :class:`NoClaim`."""
        for claim in spec.get("volumeClaimTemplates") or ():
            await self._claim(workflow, claim)
        if budget := spec.get("podDisruptionBudget"):
            labels = {LABEL_WORKFLOW: name(workflow)}
            wanted = new_object(
                _BUDGETS,
                name(workflow),
                namespace(workflow),
                labels=labels,
                owner=workflow,
                spec={"selector": {"matchLabels": labels}, **budget},
            )
            with contextlib.suppress(AlreadyExists):
                await self._client.create(_BUDGETS, wanted)
        return claimed_volumes(workflow, spec)

    async def remove(self, workflow: Obj, spec: Obj) -> None:
        """Removes what is not to outlive the Workflow, and says so in its status."""
        where = namespace(workflow)
        if spec.get("podDisruptionBudget"):
            await self._client.delete(_BUDGETS, name(workflow), where, missing_ok=True)
        strategy = (spec.get("volumeClaimGC") or {}).get("strategy") or "OnWorkflowSuccess"
        if workflow["status"]["phase"] != "Succeeded" and strategy != "OnWorkflowCompletion":
            return
        if not workflow["status"].get("persistentVolumeClaims"):
            return
        for claim in spec.get("volumeClaimTemplates") or ():
            own_name = claim_name(workflow, claim)
            await self._client.delete(PERSISTENT_VOLUME_CLAIMS, own_name, where, missing_ok=True)
        with contextlib.suppress(NotFound):
            await self._client.patch_status(
                WORKFLOWS, name(workflow), {"persistentVolumeClaims": None}, where
            )

    async def _claim(self, workflow: Obj, claim: Obj) -> None:
        where = namespace(workflow)
        template = claim.get("metadata") or {}
        wanted = new_object(
            PERSISTENT_VOLUME_CLAIMS,
            claim_name(workflow, claim),
            where,
            labels={**(template.get("labels") or {}), LABEL_WORKFLOW: name(workflow)},
            annotations=template.get("annotations") or {},
            owner=workflow,
            spec=deep_copy(claim.get("spec") or {}),
        )
        try:
            await self._client.create(PERSISTENT_VOLUME_CLAIMS, wanted)
        except (Invalid, BadRequest) as error:
            raise NoClaim(f"pvc create error: {error}") from None
        except AlreadyExists:
            found = await self._client.find(PERSISTENT_VOLUME_CLAIMS, name(wanted), where)
            if found is not None and not is_owned_by(found, workflow):
                raise NoClaim(
                    f"{name(wanted)} pvc already exists with different ownerreference"
                ) from None
