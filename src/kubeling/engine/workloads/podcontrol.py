"""Creating and deleting pods for an owner, with the events upstream records about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from kubeling.component import Context
from kubeling.engine.workloads.sightings import Sightings
from kubeling.engine.workloads.writing import all_of
from kubeling.kube.errors import AlreadyExists, ApiError, Forbidden, NotFound
from kubeling.kube.objects import Obj, key_of, name, namespace, uid
from kubeling.kube.resources import PODS

__all__ = ["PodControl"]


class PodControl:
    """Creates and deletes pods; each call ends when the pod cache shows its effect."""

    def __init__(self, context: Context, component: str) -> None:
        self._client = context.client
        self._pods = context.informers.of(PODS)
        self._sightings = Sightings(self._pods)
        self._recorder = context.recorder(component)

    def words(self, owner: Obj, verb: Literal["create", "delete"], pod: str, why: str = "") -> str:
        """What the events say; ``why`` it could not be done."""
        doing, done = ("creating", "Created") if verb == "create" else ("deleting", "Deleted")
        return f"Error {doing}: {why}" if why else f"{done} pod: {pod}"

    async def create(self, owner: Obj, pod: Obj) -> None:
        """Creates one pod; raises :class:`ApiError` if it is refused."""
        seen = self._sightings.expect(key_of(pod))
        title = name(pod)
        try:
            await self._client.create(PODS, pod)
        except AlreadyExists:
            seen.cancel()
            raise
        except ApiError as error:
            seen.cancel()
            if not _namespace_ends(error):
                message = self.words(owner, "create", title, str(error))
                await self._recorder.warning(owner, "FailedCreate", message)
            raise
        message = self.words(owner, "create", title)
        await all_of(
            [
                self._recorder.normal(owner, "SuccessfulCreate", message),
                self._sightings.arrived(seen),
            ]
        )

    async def create_all(self, owner: Obj, pods: Sequence[Obj]) -> None:
        """Creates pods in growing batches, so that a refusal costs few requests."""
        done, batch = 0, 1
        while done < len(pods):
            await all_of(self.create(owner, pod) for pod in pods[done : done + batch])
            done += batch
            batch *= 2

    async def delete(self, owner: Obj, pod: Obj) -> None:
        """Deletes one pod, if it is still this very one."""
        seen = self._sightings.expect(key_of(pod))
        try:
            await self._client.delete(PODS, name(pod), namespace(pod), uid=uid(pod))
        except NotFound:
            seen.cancel()
            return
        except ApiError as error:
            seen.cancel()
            message = self.words(owner, "delete", name(pod), str(error))
            await self._recorder.warning(owner, "FailedDelete", message)
            raise
        message = self.words(owner, "delete", name(pod))
        await all_of(
            [
                self._recorder.normal(owner, "SuccessfulDelete", message),
                self._sightings.arrived(seen),
            ]
        )

    async def delete_all(self, owner: Obj, pods: Sequence[Obj]) -> None:
        await all_of(self.delete(owner, pod) for pod in pods)


def _namespace_ends(error: ApiError) -> bool:
    causes = (error.details or {}).get("causes") or ()
    return isinstance(error, Forbidden) and any(
        cause.get("reason") == "NamespaceTerminating" for cause in causes
    )
