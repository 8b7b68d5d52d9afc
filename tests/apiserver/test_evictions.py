"""``pods/eviction``: what disruption budgets allow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.apiserver import running_server

from kubeling.kube.client import Client
from kubeling.kube.errors import ApiError, BadRequest, NotFound, TooManyRequests
from kubeling.kube.objects import Obj, condition, new_object
from kubeling.kube.resources import PODS, Resource

BUDGETS = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running_server() as running:
        yield running.client


async def pod(client: Client, name: str, *, phase: str = "Running", ready: bool = True) -> None:
    spec = {"containers": [{"name": "main", "image": "pause"}]}
    made = new_object(PODS, name, "default", labels={"app": "web"}, spec=spec)
    made["metadata"]["finalizers"] = ["example.com/hold"]
    await client.create(PODS, made)
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]}
    await client.patch_status(PODS, name, status, "default")


async def budget(client: Client, name: str = "b", *, status: Obj, **spec: Any) -> None:
    wanted = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}, **spec}
    await client.create(BUDGETS, new_object(BUDGETS, name, "default", spec=wanted))
    await client.patch_status(BUDGETS, name, {"observedGeneration": 1, **status}, "default")


async def evict(client: Client, name: str, **options: Any) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, **options}
    await client.create_subresource(PODS, name, "default", "eviction", body)


async def goes(client: Client, name: str) -> bool:
    return "deletionTimestamp" in (await client.get(PODS, name, "default"))["metadata"]


async def test_a_pod_without_a_budget_goes_and_says_why(client: Client) -> None:
    await pod(client, "p")
    await evict(client, "p")
    found = condition(await client.get(PODS, "p", "default"), "DisruptionTarget")
    assert found == ("DisruptionTarget", "True", "EvictionByEvictionAPI", "Eviction API: evicting")
    assert await goes(client, "p")


async def test_an_eviction_takes_what_the_budget_allows(client: Client) -> None:
    for name in ("a", "b"):
        await pod(client, name)
    await budget(client, status={"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1})
    await evict(client, "a")
    status = (await client.get(BUDGETS, "b", "default"))["status"]
    assert status["disruptionsAllowed"] == 0
    assert list(status["disruptedPods"]) == ["a"]
    with pytest.raises(TooManyRequests, match="would violate the pod's disruption budget") as no:
        await evict(client, "b")
    (cause,) = no.value.details["causes"]
    assert cause == {
        "reason": "DisruptionBudget",
        "message": "The disruption budget b needs 1 healthy pods and has 2 currently",
    }
    assert not await goes(client, "b")


async def test_of_many_at_once_only_as_many_go_as_are_allowed(client: Client) -> None:
    names = [f"p{number}" for number in range(6)]
    for name in names:
        await pod(client, name)
    await budget(client, status={"disruptionsAllowed": 2, "currentHealthy": 6, "desiredHealthy": 4})
    made = await asyncio.gather(*(evict(client, n) for n in names), return_exceptions=True)
    assert sum(answer is None for answer in made) == 2
    assert sum([await goes(client, name) for name in names]) == 2


async def test_a_budget_that_nobody_has_looked_at_yet_allows_nothing(client: Client) -> None:
    await pod(client, "p")
    await budget(client, status={"observedGeneration": 0, "disruptionsAllowed": 1})
    with pytest.raises(TooManyRequests) as no:
        await evict(client, "p")
    assert no.value.details["retryAfterSeconds"] == 10
    (cause,) = no.value.details["causes"]
    assert cause["message"] == "The disruption budget b is still being processed by the server."


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
async def test_a_pod_that_serves_nobody_goes_freely(client: Client, phase: str) -> None:
    await pod(client, "p", phase=phase)
    await budget(client, status={"disruptionsAllowed": 0})
    await evict(client, "p")
    assert await goes(client, "p")


@pytest.mark.parametrize(
    ("policy", "healthy", "allowed"),
    [
        ("IfHealthyBudget", 1, True),
        ("IfHealthyBudget", 0, False),
        ("AlwaysAllow", 0, True),
        (None, 1, True),
    ],
)
async def test_a_pod_that_is_not_ready_goes_as_the_policy_says(
    client: Client, policy: str | None, healthy: int, allowed: bool
) -> None:
    await pod(client, "p", ready=False)
    status = {"disruptionsAllowed": 0, "currentHealthy": healthy, "desiredHealthy": 1}
    await budget(client, status=status, unhealthyPodEvictionPolicy=policy)
    with contextlib.suppress(TooManyRequests):
        await evict(client, "p")
    assert await goes(client, "p") is allowed


async def test_two_budgets_for_one_pod_are_more_than_can_be_asked(client: Client) -> None:
    await pod(client, "p")
    for name in ("a", "b"):
        await budget(client, name, status={"disruptionsAllowed": 1})
    with pytest.raises(ApiError, match="more than one PodDisruptionBudget") as refusal:
        await evict(client, "p")
    assert refusal.value.status_code == 500


async def test_a_rehearsal_takes_nothing(client: Client) -> None:
    await pod(client, "p")
    await budget(client, status={"disruptionsAllowed": 1})
    await evict(client, "p", deleteOptions={"dryRun": ["All"]})
    assert not await goes(client, "p")
    assert (await client.get(BUDGETS, "b", "default"))["status"]["disruptionsAllowed"] == 1


async def test_the_name_is_said_twice(client: Client) -> None:
    await pod(client, "p")
    with pytest.raises(BadRequest, match="name in URL does not match name in Eviction object"):
        await client.create_subresource(PODS, "p", "default", "eviction", {})
    with pytest.raises(NotFound):
        await evict(client, "nobody")
