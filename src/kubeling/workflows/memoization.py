"""``memoize``: the outputs of steps, kept in ConfigMaps of the Workflow's namespace.

The ConfigMap is made when the first entry comes and carries upstream's label, without which one is
refused (``workflow/controller/cache/configmap_cache.go``). Entries have upstream's form, so caches
of either serve the other.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final

import msgspec

from kubeling.kube.client import Client
from kubeling.kube.clock import Clock
from kubeling.kube.durations import parse_duration
from kubeling.kube.errors import AlreadyExists, ApiError, Conflict
from kubeling.kube.objects import Obj, format_time, labels, new_object, parse_time
from kubeling.kube.resources import CONFIG_MAPS
from kubeling.workflows.execution import Execution
from kubeling.workflows.gates import MemoRequest
from kubeling.workflows.resources import MemoizationStatus, Node, Outputs

__all__ = ["LABEL", "MemoCaches"]

LABEL: Final = "workflows.argoproj.io/configmap-type"
_CACHE: Final = "Cache"
_KEY: Final = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")
_TRIES: Final = 10


class _Refused(Exception):
    """A cache cannot be used; the message says why."""


class MemoCaches:
    """Reads and writes caches."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def look_up(self, execution: Execution, namespace: str) -> bool:
        """Answers the execution's look-ups; whether there were any."""
        requests = list(execution.gates.lookups.items())
        for node_id, request in requests:
            try:
                outputs = await self._load(request, namespace)
            except (_Refused, ValueError) as problem:
                execution.answers.append(partial(execution.gates.failed, node_id, str(problem)))
            else:
                execution.answers.append(partial(execution.gates.cached, node_id, outputs))
        return bool(requests)

    async def save(self, node: Node, namespace: str) -> str:
        """Keeps the outputs of a node; returns why it could not."""
        status = node.memoization_status
        if status is None or status.hit:
            return ""
        now = format_time(self._clock.now())
        entry = {
            "nodeID": node.id,
            "outputs": msgspec.to_builtins(node.outputs) if node.outputs is not None else None,
            "creationTimestamp": now,
            "lastHitTimestamp": now,
        }
        try:
            await self._put(status, msgspec.json.encode(entry).decode(), namespace)
        except (_Refused, ApiError) as problem:
            return f"error creating cache entry: {problem}"
        return ""

    async def _load(self, request: MemoRequest, namespace: str) -> Outputs | None:
        if not _KEY.fullmatch(request.key):
            raise _Refused(f"invalid cache key: {request.key}")
        for _ in range(_TRIES):
            found = await self._client.find(CONFIG_MAPS, request.cache, namespace)
            if found is None:
                return None
            _check(found)
            text = (found.get("data") or {}).get(request.key)
            if not text:
                return None
            try:
                entry: Obj = msgspec.json.decode(text)
                outputs = msgspec.convert(entry.get("outputs") or {}, Outputs)
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                message = "malformed cache entry: could not unmarshal JSON; unable to parse"
                raise _Refused(f"{message}: {error}") from None
            now = self._clock.now()
            if request.max_age and not _is_young(entry, request.max_age, now.timestamp()):
                return None
            entry["lastHitTimestamp"] = format_time(now)
            found["data"][request.key] = msgspec.json.encode(entry).decode()
            try:
                await self._client.replace(CONFIG_MAPS, found)
            except Conflict:
                continue
            return outputs if entry.get("nodeID") else None
        return None

    async def _put(self, status: MemoizationStatus, entry: str, namespace: str) -> None:
        patch = {"metadata": {"labels": {LABEL: _CACHE}}, "data": {status.key: entry}}
        for _ in range(_TRIES):
            found = await self._client.find(CONFIG_MAPS, status.cache_name, namespace)
            if found is not None:
                _check(found)
                await self._client.patch(CONFIG_MAPS, status.cache_name, patch, namespace)
                return
            new = new_object(CONFIG_MAPS, status.cache_name, namespace, labels={LABEL: _CACHE})
            try:
                await self._client.create(CONFIG_MAPS, {**new, "data": {status.key: entry}})
            except AlreadyExists:
                continue
            return


def _check(config_map: Obj) -> None:
    label = labels(config_map).get(LABEL)
    if label is None:
        raise _Refused(f"memoization configmap doesn't have {LABEL} label, refusing to use it")
    if label != _CACHE:
        raise _Refused(
            f"memoization configmap doesn't have label {LABEL} = {_CACHE}, refusing to use it"
        )


def _is_young(entry: Obj, max_age: str, now: float) -> bool:
    try:
        allowed = parse_duration(max_age)
    except ValueError as error:
        raise _Refused(f"invalid maxAge: {error}") from None
    created = parse_time(entry["creationTimestamp"]).timestamp()
    return now - created <= allowed
