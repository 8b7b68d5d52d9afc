"""Which tasks made and used artifacts, as a graph around one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from kubeling.gateway.drawing.graph import cut, draw_graph
from kubeling.gateway.rest import RestClient
from kubeling.gateway.steps.model import Step, StepTree
from kubeling.gateway.steps.visible import View, shown

__all__ = ["Lineage", "kind_of", "lineage_of"]

_LEVELS: Final = 2
_MOST: Final = 40
_MAX_RUN: Final = 28


@dataclass(slots=True)
class Lineage:
    """Links between artifacts and tasks, and what is known of those."""

    links: list[dict[str, Any]] = field(default_factory=list)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, artifact: str, direction: str) -> list[dict[str, Any]]:
        """The tasks that made (``OUTPUT``) or used (``INPUT``) an artifact; cached ones last."""
        found = [
            link["task_id"]
            for link in self.links
            if link["artifact_id"] == artifact and link["type"] == direction
        ]
        tasks = [self.tasks[key] for key in dict.fromkeys(found) if key in self.tasks]
        return sorted(tasks, key=_is_cached)

    def alike(self) -> list[list[str]]:
        """Tasks of one name that took and made the same, as those do that were cached.

        The one that ran comes first in each group.
        """
        touched: dict[str, set[tuple[str, str]]] = {}
        for link in self.links:
            touched.setdefault(link["task_id"], set()).add((link["artifact_id"], link["type"]))
        groups: dict[tuple[str, frozenset[tuple[str, str]]], list[str]] = {}
        for key, task in self.tasks.items():
            groups.setdefault((_title(task), frozenset(touched.get(key, ()))), []).append(key)
        return [
            sorted(keys, key=lambda key: _is_cached(self.tasks[key])) for keys in groups.values()
        ]

    def draw(self, middle: str, runs: Mapping[str, str]) -> str:
        """The graph: artifacts lead to the tasks that used them, tasks to what they made.

        ``runs`` are the runs' names. Tasks that are alike are one box.
        """
        groups = self.alike()
        first = {key: keys[0] for keys in groups for key in keys}
        after: dict[str, list[str]] = {}
        for link in self.links:
            task = f"t{first.get(link['task_id'], link['task_id'])}"
            artifact = f"a{link['artifact_id']}"
            before, then = (task, artifact) if link["type"] == "OUTPUT" else (artifact, task)
            after.setdefault(then, []).append(before)
        links = {f"a{key}": f"/artifacts/{key}" for key in self.artifacts}
        details = {
            f"a{key}": kind_of(artifact).removeprefix("system.")
            for key, artifact in self.artifacts.items()
        }
        steps = []
        for key, *others in groups:
            made = self.tasks[key]
            links[f"t{key}"] = f"/pipelines/runs/{made['run_id']}#step={quote(key, safe='')}"
            details[f"t{key}"] = (
                f"in {len(others) + 1} runs"
                if others
                else cut(runs.get(made["run_id"], ""), _MAX_RUN)
            )
            state = str(made.get("state") or "waiting").lower()
            known = tuple(dict.fromkeys(after.get(f"t{key}", ())))
            steps.append(Step(f"t{key}", _title(made), state, after=known))
        steps += [
            Step(
                f"a{key}",
                str(artifact.get("name")),
                "artifact",
                after=tuple(dict.fromkeys(after.get(f"a{key}", ()))),
            )
            for key, artifact in self.artifacts.items()
        ]
        picture = draw_graph(
            shown(StepTree(steps), View()),
            frozenset({f"a{middle}"}),
            lambda key: links.get(key, "#"),
            lambda key: "#",
            details,
        )
        label = f"{len(groups)} steps and {len(self.artifacts)} artifacts"
        return picture.draw("picture graph lineage", label)


def _title(task: Mapping[str, Any]) -> str:
    return str(task.get("display_name") or task.get("name"))


def _is_cached(task: Mapping[str, Any]) -> bool:
    return task.get("state") == "CACHED"


def kind_of(artifact: dict[str, Any]) -> str:
    """The title of an artifact's schema."""
    return str(artifact.get("schema_title") or artifact.get("type") or "")


async def lineage_of(rest: RestClient, artifact: str) -> Lineage:
    """What lies around an artifact, so many levels of tasks in both directions."""
    found = Lineage()
    edge = {artifact}
    for level in range(_LEVELS):
        tasks = await _links(rest, found, "artifact_ids", edge)
        if level == _LEVELS - 1 or not tasks:
            break
        known = {link["artifact_id"] for link in found.links}
        await _links(rest, found, "task_ids", tasks)
        edge = {link["artifact_id"] for link in found.links} - known
        if not edge:
            break
    for key in dict.fromkeys([artifact, *(link["artifact_id"] for link in found.links)]):
        if len(found.artifacts) < _MOST:
            found.artifacts[key] = await rest.get(f"/apis/v2beta1/artifacts/{key}")
    for key in dict.fromkeys(link["task_id"] for link in found.links):
        if len(found.tasks) < _MOST:
            found.tasks[key] = await rest.get(f"/apis/v2beta1/tasks/{key}", view="VALUES")
    return found


async def _links(rest: RestClient, found: Lineage, field: str, keys: set[str]) -> set[str]:
    """Adds the links of artifacts or tasks; returns the tasks among them."""
    asked = "&".join(f"{field}={quote(key, safe='')}" for key in sorted(keys)[:_MOST])
    answer = await rest.get(f"/apis/v2beta1/artifact_tasks?{asked}&page_size=200")
    seen = {_key(link) for link in found.links}
    fresh = [link for link in answer.get("artifact_tasks") or () if _key(link) not in seen]
    found.links += fresh
    return {link["task_id"] for link in fresh}


def _key(link: dict[str, Any]) -> tuple[str, str, str]:
    return str(link["artifact_id"]), str(link["task_id"]), str(link["type"])
