"""``POST …/trainjobs/NAME/status``: training reports its progress, which lands in the status.

Upstream's server (``pkg/statusserver``) takes any token of the namespace that is meant for the job;
here the pod that the token is bound to must be one of the job's.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from aiohttp import web

from kubeling.component import Context, Listener
from kubeling.kube.client import Client
from kubeling.kube.errors import ApiError, Forbidden, Invalid
from kubeling.kube.objects import Obj, labels
from kubeling.kube.resources import PODS, TOKEN_REVIEWS
from kubeling.training.jobset.objects import JOBSET_NAME
from kubeling.training.trainer.progress import PORT, SERVICE, audience, path
from kubeling.training.trainer.resources import TRAIN_JOBS, TrainerStatus

__all__ = ["progress_server"]

_MOST_BYTES: Final = 64 * 1024
_POD_NAME: Final = "authentication.kubernetes.io/pod-name"
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"
_ACCOUNT_PARTS: Final = 4


class _Update(msgspec.Struct, rename="camel"):
    trainer_status: TrainerStatus | None = None


def progress_server(context: Context) -> Listener:
    """Takes reports at upstream's path, with the controllers wherever they run."""

    @contextlib.asynccontextmanager
    async def serving(host: str, port: int) -> AsyncIterator[int]:
        app = web.Application()
        app.router.add_post(path("{namespace}", "{name}"), _Reports(context.client).post)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, shutdown_timeout=1.0).start()
            yield int(runner.addresses[0][1])
        finally:
            await runner.cleanup()

    return Listener(SERVICE, PORT, serving)


class _Reports:
    """Takes the reports of all jobs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def post(self, request: web.Request) -> web.Response:
        """One report; answers with what was understood, as upstream does."""
        where, job = request.match_info["namespace"], request.match_info["name"]
        try:
            await self._check(request, where, job)
            body = await _body(request)
            update = _understood(body)
            if update.trainer_status is not None:
                status = {"trainerStatus": _whole(body["trainerStatus"])}
                await self._client.patch_status(TRAIN_JOBS, job, status, where)
        except ApiError as error:
            return web.json_response(error.status, status=error.status_code)
        return web.json_response(body)

    async def _check(self, request: web.Request, where: str, job: str) -> None:
        """Refuses everybody but the job's own pods."""
        user = await self._identify(request.headers.get("Authorization", ""), where, job)
        extra = (user or {}).get("extra") or {}
        pod_name, pod_uid = (next(iter(extra.get(key) or ()), "") for key in (_POD_NAME, _POD_UID))
        account = str((user or {}).get("username", "")).split(":")
        if user is None or len(account) != _ACCOUNT_PARTS or account[2] != where or not pod_name:
            raise _refused(job, "the token is not that of a pod of this TrainJob")
        pod = await self._client.find(PODS, pod_name, where)
        if pod is None or labels(pod).get(JOBSET_NAME) != job:
            raise _refused(job, f"pod {pod_name} is not one of its pods")
        if pod_uid and pod["metadata"]["uid"] != pod_uid:
            raise _refused(job, f"the token is of an earlier pod {pod_name}")

    async def _identify(self, header: str, where: str, job: str) -> Obj | None:
        scheme, _, token = header.strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return None
        wanted = audience(where, job)
        body = {
            "apiVersion": TOKEN_REVIEWS.api_version,
            "kind": TOKEN_REVIEWS.kind,
            "metadata": {},
            "spec": {"token": token.strip(), "audiences": [wanted]},
        }
        status = (await self._client.create(TOKEN_REVIEWS, body)).get("status") or {}
        if not status.get("authenticated") or wanted not in (status.get("audiences") or ()):
            return None
        user: Obj = status.get("user") or {}
        return user


async def _body(request: web.Request) -> dict[str, Any]:
    data = bytearray()
    async for chunk in request.content.iter_any():
        data += chunk
        if len(data) > _MOST_BYTES:
            message = f"the body must be at most {_MOST_BYTES} bytes"
            raise ApiError(message, code=413, reason="RequestEntityTooLarge")
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Invalid(f"Invalid payload: {error}") from None


def _understood(body: dict[str, Any]) -> _Update:
    try:
        return msgspec.convert(body, _Update)
    except msgspec.ValidationError as error:
        raise Invalid(f"Invalid payload: {error}") from None


def _whole(status: dict[str, Any]) -> dict[str, Any]:
    """A report replaces the one before: what it leaves out is no longer known."""
    fields = ("progressPercentage", "estimatedRemainingSeconds", "metrics")
    return {**dict.fromkeys(fields), **status}


def _refused(job: str, why: str) -> ApiError:
    return Forbidden.of(TRAIN_JOBS.group, TRAIN_JOBS.plural, job, why)
