"""HorizontalPodAutoscalers: anything with a scale subresource, grown and shrunk by load.

The bounds hold at once, with or without metrics. The target may be any kind that has a scale, a
custom resource included.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from kubeling.component import Context
from kubeling.engine.workloads.pod_use import MetricUnavailable, Reading, read_metric
from kubeling.engine.workloads.resources import resource_of_kind
from kubeling.engine.workloads.scaling import (
    Change,
    History,
    Limit,
    clamp,
    limit_rate,
    stabilized,
)
from kubeling.engine.workloads.writing import write_status
from kubeling.kube import selectors
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import (
    Key,
    Obj,
    deep_copy,
    deletion_requested,
    format_time,
    generation,
    labels,
    name,
    namespace,
    set_condition,
    uid,
)
from kubeling.kube.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    HORIZONTAL_POD_AUTOSCALERS,
    POD_METRICS,
    PODS,
    Resource,
)

__all__ = ["controller"]

_PERIOD: Final = 15.0
_DEFAULT_METRIC: Final[Obj] = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
}


def controller(context: Context) -> Controller:
    """The autoscaling controller."""
    return Controller(
        "horizontal-pod-autoscaler",
        HORIZONTAL_POD_AUTOSCALERS,
        _Autoscalers(context).reconcile,
        watches={CUSTOM_RESOURCE_DEFINITIONS: lambda _: ()},
    )


class _Autoscalers:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("horizontal-pod-autoscaler")
        self._scalers = context.informers.of(HORIZONTAL_POD_AUTOSCALERS)
        self._pods = context.informers.of(PODS)
        self._histories: dict[str, History] = {}
        self._looked: dict[str, tuple[float, Obj]] = {}

    async def reconcile(self, key: Key) -> Result | None:
        scaler = self._scalers.get(*key)
        if scaler is None or deletion_requested(scaler):
            self._forget()
            return None
        if (wait := self._seconds_to_next_look(scaler)) > 0:
            return Result(wait)
        status: Obj = deep_copy(scaler.get("status") or {})
        status.setdefault("currentReplicas", 0)
        status.setdefault("desiredReplicas", 0)
        if generation(scaler):
            status["observedGeneration"] = generation(scaler)
        await self._scale(scaler, status)
        await write_status(self._client, HORIZONTAL_POD_AUTOSCALERS, scaler, status)
        return Result(_PERIOD)

    def _forget(self) -> None:
        alive = {uid(scaler) for scaler in self._scalers.list()}
        self._histories = {u: h for u, h in self._histories.items() if u in alive}
        self._looked = {u: seen for u, seen in self._looked.items() if u in alive}

    def _seconds_to_next_look(self, scaler: Obj) -> float:
        """Only a changed spec is looked at before its time: our own status writes wake us too."""
        now = self._clock.monotonic()
        at, spec = self._looked.get(uid(scaler), (0.0, {}))
        if spec == scaler["spec"] and now - at < _PERIOD:
            return _PERIOD - (now - at)
        self._looked[uid(scaler)] = (now, scaler["spec"])
        return 0.0

    async def _scale(self, scaler: Obj, status: Obj) -> None:
        reference = scaler["spec"]["scaleTargetRef"]
        found = await self._target(scaler, status, reference)
        if found is None:
            return
        target, scale = found
        current = int(scale["spec"].get("replicas") or 0)
        status["currentReplicas"] = int((scale.get("status") or {}).get("replicas") or 0)
        low = int(scaler["spec"].get("minReplicas") or 1)
        if current == 0 and low != 0 and status["currentReplicas"] == 0 and _was_scaled_to(scaler):
            status["desiredReplicas"] = 0
            message = "scaling is disabled since the replica count of the target is zero"
            self._set(status, "ScalingActive", False, "ScalingDisabled", message)
            return
        wanted = await self._wanted(scaler, status, scale, current)
        status["desiredReplicas"] = wanted
        if wanted != current:
            await self._resize(scaler, status, target, current, wanted)

    async def _target(
        self, scaler: Obj, status: Obj, reference: Obj
    ) -> tuple[Resource, Obj] | None:
        title = f"{reference['kind']}/{reference['name']}"
        resource = resource_of_kind(
            self._context.informers, reference.get("apiVersion", "v1"), reference["kind"]
        )
        try:
            if resource is None:
                version = reference.get("apiVersion", "v1")
                raise MetricUnavailable(
                    "FailedGetScale", f"no kind {reference['kind']} is served in {version}"
                )
            scale = await self._client.get_scale(resource, reference["name"], namespace(scaler))
        except (ApiError, MetricUnavailable) as error:
            message = f"the HPA controller was unable to get the target's current scale: {error}"
            self._set(status, "AbleToScale", False, "FailedGetScale", message)
            await self._recorder.warning(scaler, "FailedGetScale", f"{title}: {error}")
            return None
        message = "the HPA controller was able to get the target's current scale"
        self._set(status, "AbleToScale", True, "SucceededGetScale", message)
        return resource, scale

    async def _wanted(self, scaler: Obj, status: Obj, scale: Obj, current: int) -> int:
        spec, now = scaler["spec"], self._clock.now()
        low, high = int(spec.get("minReplicas") or 1), int(spec["maxReplicas"])
        readings = await self._readings(scaler, status, scale, current)
        # The size found at first counts as a recommendation: it is not undone before its window.
        history = self._histories.setdefault(uid(scaler), History([(now, current)]))
        history.forget(now)
        by_metrics = max((reading.desired for reading in readings), default=current)
        bounded, limit = clamp(by_metrics, low, high)
        if current in range(low, high + 1) and bounded != current:
            calm = stabilized(spec, current, bounded, history, now)
            bounded, rate = limit_rate(spec, current, calm, history.changes, now)
            limit = rate or limit
        elif readings:
            stabilized(spec, current, bounded, history, now)
        self._limited(status, limit)
        return bounded

    async def _readings(self, scaler: Obj, status: Obj, scale: Obj, current: int) -> list[Reading]:
        text = (scale.get("status") or {}).get("selector") or ""
        try:
            if not text:
                raise MetricUnavailable(
                    "InvalidSelector", "the target's scale has no selector to find its pods by"
                )
            selector = selectors.parse(text)
            pods = [p for p in self._pods.list(namespace(scaler)) if selector.matches(labels(p))]
            usage = await self._usage(namespace(scaler))
        except (MetricUnavailable, ApiError) as error:
            await self._inactive(scaler, status, error)
            return []
        readings = []
        failure: Exception | None = None
        for metric in scaler["spec"].get("metrics") or [_DEFAULT_METRIC]:
            try:
                readings.append(read_metric(metric, pods, usage, current))
            except MetricUnavailable as error:
                failure = error
        if failure is not None:
            # With one metric unknown the others may make the target grow, never shrink.
            await self._inactive(scaler, status, failure)
            status["currentMetrics"] = [reading.current for reading in readings]
            return [reading for reading in readings if reading.desired > current]
        metric_names = ", ".join(str(reading.current["type"]) for reading in readings)
        message = f"the HPA was able to compute the replica count from its metrics ({metric_names})"
        self._set(status, "ScalingActive", True, "ValidMetricFound", message)
        status["currentMetrics"] = [reading.current for reading in readings]
        return readings

    async def _usage(self, where: str) -> dict[str, Obj]:
        found = await self._client.list(POD_METRICS, where)
        return {name(item): item for item in found.items}

    async def _inactive(self, scaler: Obj, status: Obj, error: Exception) -> None:
        reason = getattr(error, "reason", "") if isinstance(error, MetricUnavailable) else ""
        reason = reason or "FailedGetResourceMetric"
        message = f"the HPA was unable to compute the replica count: {error}"
        self._set(status, "ScalingActive", False, reason, message)
        await self._recorder.warning(scaler, reason, str(error))

    async def _resize(
        self, scaler: Obj, status: Obj, target: Resource, current: int, wanted: int
    ) -> None:
        reference = scaler["spec"]["scaleTargetRef"]
        try:
            await self._client.set_scale(target, reference["name"], namespace(scaler), wanted)
        except ApiError as error:
            message = f"the HPA controller was unable to update the target scale: {error}"
            self._set(status, "AbleToScale", False, "FailedUpdateScale", message)
            await self._recorder.warning(scaler, "FailedRescale", f"New size: {wanted}; {error}")
            return
        now = self._clock.now()
        self._histories[uid(scaler)].changes.append(Change(now, wanted - current))
        status["lastScaleTime"] = format_time(now)
        message = f"the HPA controller was able to update the target scale to {wanted}"
        self._set(status, "AbleToScale", True, "SucceededRescale", message)
        await self._recorder.normal(scaler, "SuccessfulRescale", f"New size: {wanted}")

    def _limited(self, status: Obj, limit: Limit | None) -> None:
        reason, message = limit or (
            "DesiredWithinRange",
            "the desired count is within the acceptable range",
        )
        self._set(status, "ScalingLimited", limit is not None, reason, message)

    def _set(self, status: Obj, type_: str, value: bool, reason: str, message: str) -> None:
        now: dt.datetime = self._clock.now()
        set_condition(status, type_, value, reason=reason, message=message, now=now)


def _was_scaled_to(scaler: Obj) -> bool:
    """Whether the autoscaler has had its target running: a zero after that is somebody's wish."""
    return int((scaler.get("status") or {}).get("currentReplicas") or 0) > 0
