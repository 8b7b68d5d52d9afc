"""HorizontalPodAutoscalers: anything with a scale subresource, grown and shrunk by load.

As upstream's ``horizontal.go``, with one difference: a new or changed autoscaler is looked at at
once rather than at the next beat of 15 seconds. The target may be any kind that has a scale, a
custom resource included.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

from kubeling.component import Context
from kubeling.engine.workloads.autoscaling_metrics import Metrics
from kubeling.engine.workloads.autoscaling_sources import (
    MetricUnavailable,
    Proposal,
    Target,
    propose,
    tolerances_of,
)
from kubeling.engine.workloads.resources import resource_of_kind
from kubeling.engine.workloads.scaling import Change, History, normalize
from kubeling.engine.workloads.writing import write_status
from kubeling.kube import selectors
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import ApiError, BadRequest
from kubeling.kube.objects import (
    Key,
    Obj,
    deep_copy,
    deletion_requested,
    format_time,
    is_condition_true,
    key_of,
    labels,
    namespace,
    set_condition,
    uid,
)
from kubeling.kube.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    HORIZONTAL_POD_AUTOSCALERS,
    PODS,
    Resource,
)

__all__ = ["controller"]

_PERIOD: Final = 15.0
_SHARED_METRICS: Final = ("Object", "External")


def controller(context: Context) -> Controller:
    """The autoscaling controller."""
    return Controller(
        "horizontal-pod-autoscaler",
        HORIZONTAL_POD_AUTOSCALERS,
        _Autoscalers(context).reconcile,
        watches={CUSTOM_RESOURCE_DEFINITIONS: lambda _: ()},
    )


class _Stop(Exception):
    """Nothing more can be done for now; the status says why."""


@dataclass(slots=True)
class _Pass:
    """One look at one autoscaler: its spec, the status to be, and the target's scale."""

    scaler: Obj
    status: Obj
    resource: Resource
    scale: Obj

    @property
    def spec(self) -> Obj:
        spec: Obj = self.scaler["spec"]
        return spec

    @property
    def current(self) -> int:
        return int(self.scale["spec"].get("replicas") or 0)

    @property
    def low(self) -> int:
        return int(self.spec.get("minReplicas", 1))

    @property
    def high(self) -> int:
        return int(self.spec["maxReplicas"])

    @property
    def may_be_zero(self) -> bool:
        return any(metric["type"] in _SHARED_METRICS for metric in self.spec.get("metrics") or ())


class _Autoscalers:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("horizontal-pod-autoscaler")
        self._scalers = context.informers.of(HORIZONTAL_POD_AUTOSCALERS)
        self._pods = context.informers.of(PODS)
        self._metrics = Metrics(context.client, context.informers)
        self._histories: dict[str, History] = {}
        self._selectors: dict[str, tuple[Key, selectors.LabelSelector]] = {}
        self._looked: dict[str, tuple[float, Obj]] = {}

    async def reconcile(self, key: Key) -> Result | None:
        scaler = self._scalers.get(*key)
        if scaler is None or deletion_requested(scaler):
            self._forget()
            return None
        if (wait := self._seconds_to_next_look(scaler)) > 0:
            return Result(wait)
        status: Obj = deep_copy(scaler.get("status") or {})
        status.setdefault("desiredReplicas", 0)
        try:
            resource, scale = await self._target(scaler, status)
            await self._scale(_Pass(scaler, status, resource, scale))
        except _Stop:
            pass
        await write_status(self._client, HORIZONTAL_POD_AUTOSCALERS, scaler, status)
        return Result(_PERIOD)

    def _forget(self) -> None:
        alive = {uid(scaler) for scaler in self._scalers.list()}
        for remembered in (self._histories, self._looked, self._selectors):
            for gone in remembered.keys() - alive:
                del remembered[gone]

    def _seconds_to_next_look(self, scaler: Obj) -> float:
        """Only a changed spec is looked at before its time: our own status writes wake us too."""
        now = self._clock.monotonic()
        at, spec = self._looked.get(uid(scaler), (0.0, {}))
        if spec == scaler["spec"] and now - at < _PERIOD:
            return _PERIOD - (now - at)
        self._looked[uid(scaler)] = (now, scaler["spec"])
        return 0.0

    async def _target(self, scaler: Obj, status: Obj) -> tuple[Resource, Obj]:
        reference = scaler["spec"]["scaleTargetRef"]
        version, kind = reference.get("apiVersion", "v1"), reference["kind"]
        resource = resource_of_kind(self._context.informers, version, kind)
        why = f'no matches for kind "{kind}" in group "{version.rpartition("/")[0]}"'
        if resource is not None:
            try:
                scale = await self._client.get_scale(resource, reference["name"], namespace(scaler))
            except ApiError as error:
                why = str(error)
            else:
                message = "the HPA controller was able to get the target's current scale"
                self._set(status, "AbleToScale", True, "SucceededGetScale", message)
                return resource, scale
        await self._recorder.warning(scaler, "FailedGetScale", why)
        message = f"the HPA controller was unable to get the target's current scale: {why}"
        self._set(status, "AbleToScale", False, "FailedGetScale", message)
        raise _Stop

    async def _scale(self, look: _Pass) -> None:
        current, now = look.current, self._clock.now()
        # The size found at first counts as a recommendation: it is not undone before its window.
        history = self._histories.setdefault(uid(look.scaler), History([(now, current)]))
        history.forget(now)
        look.status["currentReplicas"] = current
        if current == 0 and not self._wakes_from_zero(look):
            look.status["desiredReplicas"] = 0
            message = "scaling is disabled since the replica count of the target is zero"
            self._set(look.status, "ScalingActive", False, "ScalingDisabled", message)
            return
        if current > look.high:
            wanted, why = look.high, "Current number of replicas above Spec.MaxReplicas"
        elif 0 < current < look.low:
            wanted, why = look.low, "Current number of replicas below Spec.MinReplicas"
        else:
            wanted, why = await self._wanted(look, history)
        if wanted != current:
            await self._resize(look, wanted, why)
        look.status["desiredReplicas"] = wanted

    def _wakes_from_zero(self, look: _Pass) -> bool:
        """A zero that this controller set is left for load; any other is somebody's wish."""
        ours = is_condition_true({"status": look.status}, "ScaledToZero")
        return ours and (look.low != 0 or look.may_be_zero)

    async def _wanted(self, look: _Pass, history: History) -> tuple[int, str]:
        proposal = await self._proposal(look)
        current, spec = look.current, look.spec
        why = ""
        if proposal.replicas > current:
            why = f"{proposal.metric} above target"
        elif proposal.replicas < current:
            why = "All metrics below target"
        made = normalize(spec, current, proposal.replicas, history, self._clock.now())
        self._set(look.status, "AbleToScale", True, *made.able)
        self._set(look.status, "ScalingLimited", made.limited, *made.limit)
        if current == 0 and made.replicas < look.low:
            return look.low, why or "Current number of replicas below Spec.MinReplicas"
        return made.replicas, why

    async def _proposal(self, look: _Pass) -> Proposal:
        """The most that a metric asks for; with one unknown, only if that is no shrinking."""
        target = await self._selected(look)
        proposals: list[Proposal] = []
        statuses: list[Obj] = []
        failures: list[MetricUnavailable] = []
        for metric in look.spec["metrics"]:
            try:
                proposal = await propose(metric, target, self._metrics)
            except MetricUnavailable as error:
                await self._recorder.warning(look.scaler, error.reason, str(error))
                failures.append(error)
                # Its place is kept, because readers find a metric's status by its position.
                statuses.append({"type": ""})
            else:
                proposals.append(proposal)
                statuses.append(proposal.status)
        look.status["currentMetrics"] = statuses
        best = max(proposals, key=lambda p: p.replicas, default=None)
        if best is None or (failures and best.replicas < look.current):
            first = failures[0]
            message = f"the HPA was unable to compute the replica count: {first}"
            self._set(look.status, "ScalingActive", False, first.reason, message)
            await self._fail(
                look,
                f"invalid metrics ({len(failures)} invalid out of {len(statuses)}), first error "
                f"is: {first.summary}",
            )
        message = f"the HPA was able to successfully calculate a replica count from {best.metric}"
        self._set(look.status, "ScalingActive", True, "ValidMetricFound", message)
        return best

    async def _selected(self, look: _Pass) -> Target:
        text = (look.scale.get("status") or {}).get("selector") or ""
        if not text:
            message = "the HPA target's scale is missing a selector"
            await self._invalid(
                look, "SelectorRequired", "selector is required", "InvalidSelector", message
            )
        try:
            selector = selectors.parse(text)
        except BadRequest as error:
            why = (
                f"couldn't convert selector into a corresponding internal selector object: {error}"
            )
            await self._invalid(look, "InvalidSelector", why, "InvalidSelector", why)
        here = namespace(look.scaler)
        pods = [p for p in self._pods.list(here) if selector.matches(labels(p))]
        self._selectors[uid(look.scaler)] = (key_of(look.scaler), selector)
        if len(rivals := self._selecting(here, pods)) > 1:
            listed = " ".join(f"{{{key.name} {key.namespace}}}" for key in rivals)
            why = f"pods by selector {text} are controlled by multiple HPAs: [{listed}]"
            await self._invalid(look, "AmbiguousSelector", why, "AmbiguousSelector", why)
        return Target(
            namespace=here,
            selector=text,
            pods=pods,
            wanted=look.current,
            present=int((look.scale.get("status") or {}).get("replicas") or 0),
            tolerances=tolerances_of(look.spec),
            now=self._clock.now(),
        )

    def _selecting(self, here: str, pods: Iterable[Obj]) -> list[Key]:
        """The autoscalers whose selectors find one of the pods."""
        carried = [labels(pod) for pod in pods]
        return sorted(
            key
            for key, selector in self._selectors.values()
            if key.namespace == here
            and self._scalers.get(*key) is not None
            and any(map(selector.matches, carried))
        )

    async def _invalid(
        self, look: _Pass, event: str, why: str, reason: str, message: str
    ) -> NoReturn:
        await self._recorder.warning(look.scaler, event, why)
        self._set(look.status, "ScalingActive", False, reason, message)
        look.status.pop("currentMetrics", None)
        await self._fail(look, why)

    async def _fail(self, look: _Pass, why: str) -> NoReturn:
        await self._recorder.warning(look.scaler, "FailedComputeMetricsReplicas", why)
        raise _Stop

    async def _resize(self, look: _Pass, wanted: int, why: str) -> None:
        title, here, current = (
            look.spec["scaleTargetRef"]["name"],
            namespace(look.scaler),
            look.current,
        )
        try:
            await self._client.set_scale(look.resource, title, here, wanted)
        except ApiError as error:
            message = f"the HPA controller was unable to update the target scale: {error}"
            self._set(look.status, "AbleToScale", False, "FailedUpdateScale", message)
            said = f"New size: {wanted}; reason: {why}; error: {error}"
            await self._recorder.warning(look.scaler, "FailedRescale", said)
            raise _Stop from None
        now = self._clock.now()
        self._histories[uid(look.scaler)].changes.append(Change(now, wanted - current))
        look.status["lastScaleTime"] = format_time(now)
        message = f"the HPA controller was able to update the target scale to {wanted}"
        self._set(look.status, "AbleToScale", True, "SucceededRescale", message)
        said = f"New size: {wanted}; reason: {why}"
        await self._recorder.normal(look.scaler, "SuccessfulRescale", said)
        if current > 0 and wanted == 0 and look.low == 0 and look.may_be_zero:
            message = "the HPA controller scaled the workload to zero"
            self._set(look.status, "ScaledToZero", True, "ScaledToZero", message)
        else:
            message = "the HPA controller did not scale the workload to zero"
            self._set(look.status, "ScaledToZero", False, "NotScaledToZero", message)

    def _set(self, status: Obj, type_: str, value: bool, reason: str, message: str) -> None:
        now = self._clock.now()
        set_condition(status, type_, value, reason=reason, message=message, now=now)
