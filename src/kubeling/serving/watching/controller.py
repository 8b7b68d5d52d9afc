"""Watches monitored services: fetches what their pods sampled, judges it, and says so.

The condition, its Events and the retraining run follow from what is in the API and the metadata
database; a restart goes on where it was saved. All replicas of a revision are judged together. The
service's condition is that of the revision with most of the requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from kubeling.component import Context
from kubeling.kube import objects
from kubeling.kube.controller import Controller, Result
from kubeling.kube.informer import Informers
from kubeling.kube.objects import (
    Key,
    Obj,
    condition,
    deletion_requested,
    format_time,
    labels,
    name,
    namespace,
    uid,
)
from kubeling.kube.resources import PODS
from kubeling.serving.names import SERVICE
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.watching import metrics
from kubeling.serving.watching.references import References
from kubeling.serving.watching.reporting import Reporting
from kubeling.serving.watching.settings import has_monitor, is_monitored, settings_of
from kubeling.serving.watching.verdict import CONDITION, Verdict, judged_before, verdict_of

if TYPE_CHECKING:
    import aiohttp

    from kubeling.serving.watching.looking import Looked
    from kubeling.serving.watching.store import WatchStore
    from kubeling.serving.watching.watch import Watch, WatchState

__all__ = ["DriftWatcher", "watcher_of"]

_LOOK_SECONDS: Final = 2.0
_SAVE_SECONDS: Final = 20.0
_REFERENCE_SECONDS: Final = 20.0
_SHARE: Final = 50
"""Judging may take one part in so many of the time."""

_watchers: WeakKeyDictionary[Informers, DriftWatcher] = WeakKeyDictionary()


def watcher_of(context: Context) -> DriftWatcher:
    """The one watcher of a platform: its controller, its pages and the canaries' judge share it."""
    if context.informers not in _watchers:
        _watchers[context.informers] = DriftWatcher(context)
    return _watchers[context.informers]


_Found = tuple[str, Sequence[Obj]]
"""A revision and its pods."""


class _Service:
    """A monitored service."""

    def __init__(self) -> None:
        self.watches: dict[str, Watch] = {}
        self.saved = 0.0
        self.unsaved = False
        self.judge_after = 0.0
        self.ask_after: dict[str, float] = {}
        """By revision, when its reference is looked for again."""


class DriftWatcher:
    """Watches the services that ask for it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._informers = context.informers
        self._clock = context.clock
        self._reporting = Reporting(context)
        self._references = References(context)
        self._services: dict[str, _Service] = {}
        self._swept = False
        metrics.declare(context.metrics, self._shown)

    def controller(self) -> Controller:
        """The controller."""
        return Controller("model-monitor", INFERENCE_SERVICES, self.reconcile, workers=2)

    def reports(self, isvc: Obj) -> dict[str, dict[str, Any]]:
        """By revision, the last report."""
        service = self._services.get(uid(isvc))
        return {r: watch.report for r, watch in service.watches.items()} if service else {}

    async def compared(
        self, isvc: Obj, canary: str, stable: str, psi: float
    ) -> dict[str, Any] | None:
        """How a canary's answers compare with the stable revision's, if that is known."""
        watches = self._services[uid(isvc)].watches if uid(isvc) in self._services else {}
        if canary not in watches or stable not in watches:
            return None
        return await asyncio.to_thread(watches[canary].against, watches[stable], psi)

    def forget(self, isvc: Obj, revision: str) -> None:
        """Begins what is known of a revision anew."""
        if (service := self._services.get(uid(isvc))) is not None:
            service.watches.pop(revision, None)
            service.ask_after.pop(revision, None)
            service.unsaved = True

    async def reconcile(self, key: Key) -> Result | None:
        """Looks at one service; ``None`` if it is not monitored."""
        isvc = self._informers.of(INFERENCE_SERVICES).get(*key)
        if isvc is None or deletion_requested(isvc):
            await self._forget()
            return None
        if not is_monitored(isvc):
            await self._stop(isvc)
            return None
        if uid(isvc) not in self._services:
            self._services[uid(isvc)] = await self._load(isvc)
        service = self._services[uid(isvc)]
        for watch in service.watches.values():
            watch.follow(settings_of(isvc))
        await self._look(isvc, service)
        await self._judge(isvc, service)
        await self._save(isvc, service)
        return Result(_LOOK_SECONDS)

    async def _look(self, isvc: Obj, service: _Service) -> None:
        import aiohttp

        from kubeling.serving.watching.looking import look, watched_pods

        component = "transformer" if has_monitor(isvc) else "predictor"
        pods = watched_pods(isvc, self._pods(isvc), component)
        wanted = {revision: watch.wanted for revision, watch in service.watches.items()}
        async with aiohttp.ClientSession() as session:
            looked = await look(session, pods, wanted)
            for found in pods.items():
                if self._clock.monotonic() >= service.ask_after.get(found[0], 0.0):
                    await self._find_reference(session, isvc, service, found)
        await asyncio.to_thread(self._take, isvc, service, looked)

    def _take(self, isvc: Obj, service: _Service, looked: Looked) -> None:
        for revision, shown in looked.items():
            if revision not in service.watches:
                service.watches[revision] = self._watch(isvc)
            for samples in shown:
                service.watches[revision].take(samples)

    async def _find_reference(
        self, session: aiohttp.ClientSession, isvc: Obj, service: _Service, found: _Found
    ) -> None:
        revision, pods = found
        if revision not in service.watches:
            service.watches[revision] = self._watch(isvc)
        watch = service.watches[revision]
        answered, reference = await self._references.find(session, isvc, pods, watch.source)
        if reference is not None and reference != (watch.reference, watch.source):
            watch.refer_to(*reference)
        if answered:
            service.ask_after[revision] = self._clock.monotonic() + _REFERENCE_SECONDS

    async def _judge(self, isvc: Obj, service: _Service) -> None:
        now = self._clock.monotonic()
        due = [watch for watch in service.watches.values() if watch.changed or not watch.report]
        if due and now >= service.judge_after:
            await asyncio.to_thread(_assess, due)
            service.unsaved = True
            taken = self._clock.monotonic() - now
            service.judge_after = now + max(_LOOK_SECONDS, _SHARE * taken)
        main = _heaviest(isvc)
        watch, before = service.watches.get(main), judged_before(isvc, main)
        if watch is None:
            nothing = Verdict("Unknown", "NoSamples", "no pod shows samples yet")
            if not before:
                await self._reporting.say(isvc, nothing.of(main) if main else nothing)
            return
        verdict = verdict_of(watch.report, watch.positive, before)
        if verdict.reason != "Unchanged":
            await self._reporting.say(isvc, verdict.of(main))

    async def _stop(self, isvc: Obj) -> None:
        """Forgets a service that is monitored no more."""
        self._services.pop(uid(isvc), None)
        if condition(isvc, CONDITION) is not None:
            await (await self._store()).save(uid(isvc), {}, 0)
            await self._reporting.retract(isvc)

    async def _load(self, isvc: Obj) -> _Service:
        store = await self._store()
        if not self._swept:
            known = [uid(found) for found in self._informers.of(INFERENCE_SERVICES).list()]
            await store.keep(known)
            self._swept = True
        service = _Service()
        states = await store.load(uid(isvc))
        service.watches = await asyncio.to_thread(
            lambda: {revision: self._watch(isvc, state) for revision, state in states.items()}
        )
        service.saved = self._clock.monotonic()
        return service

    async def _save(self, isvc: Obj, service: _Service) -> None:
        now = self._clock.monotonic()
        if now < service.saved + _SAVE_SECONDS:
            return
        service.saved = now
        revisions = _known_revisions(isvc, self._pods(isvc))
        kept = {r: w for r, w in service.watches.items() if r in revisions}
        service.unsaved |= len(kept) < len(service.watches)
        service.watches = kept
        # The reference of one that comes back is looked for at once.
        service.ask_after = {r: at for r, at in service.ask_after.items() if r in revisions}
        if service.unsaved:
            states = await asyncio.to_thread(_states, dict(kept))
            store = await self._store()
            await store.save(uid(isvc), states, int(self._clock.now().timestamp()))
            service.unsaved = False

    async def _store(self) -> WatchStore:
        await self._context.open_database()
        from kubeling.serving.watching.store import WatchStore

        return WatchStore(self._context.open_database)

    def _watch(self, isvc: Obj, state: Any = None) -> Watch:
        from kubeling.serving.watching.watch import Watch

        return Watch(settings_of(isvc), lambda: format_time(self._clock.now()), state)

    def _pods(self, isvc: Obj) -> list[Obj]:
        pods = self._informers.of(PODS).list(namespace(isvc))
        return [pod for pod in pods if labels(pod).get(SERVICE) == name(isvc)]

    async def _forget(self) -> None:
        present = {uid(isvc) for isvc in self._informers.of(INFERENCE_SERVICES).list()}
        for gone in self._services.keys() - present:
            await (await self._store()).save(gone, {}, 0)
            self._services.pop(gone, None)

    def _shown(self) -> list[tuple[Key, str, dict[str, Any]]]:
        found = []
        for isvc in self._informers.of(INFERENCE_SERVICES).list():
            for revision, report in self.reports(isvc).items():
                found.append((objects.key_of(isvc), revision, report))
        return found


def _assess(watches: Sequence[Watch]) -> None:
    for watch in watches:
        watch.assess()


def _states(watches: Mapping[str, Watch]) -> dict[str, WatchState]:
    return {revision: watch.state() for revision, watch in watches.items()}


def _shares(isvc: Obj) -> Sequence[Obj]:
    components = (isvc.get("status") or {}).get("components") or {}
    return (components.get("predictor") or {}).get("traffic") or ()


def _heaviest(isvc: Obj) -> str:
    """The revision with most of the requests."""
    shares = _shares(isvc)
    if not shares:
        return ""
    return str(max(shares, key=lambda share: int(share.get("percent") or 0))["revisionName"])


def _known_revisions(isvc: Obj, pods: Sequence[Obj]) -> set[str]:
    """Those that requests go to, which may be without a pod at times, and those with pods."""
    from kubeling.serving.watching.looking import watched_pods

    component = "transformer" if has_monitor(isvc) else "predictor"
    shared = {str(share["revisionName"]) for share in _shares(isvc)}
    return shared | watched_pods(isvc, pods, component).keys()
