"""Which tasks made and used artifacts, as a graph around one of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from kubeling.gateway.drawing.graph import draw_graph
from kubeling.gateway.rest import RestClient
from kubeling.gateway.steps.model import Step, StepTree
from kubeling.gateway.steps.visible import View, shown

__all__ = ["Lineage", "kind_of", "lineage_of"]

_LEVELS: Final = 2
_MOST: Final = 40


@dataclass(slots=True)
class Lineage:
    """Links between artifacts and tasks, and what is known of those."""

    links: list[dict[str, Any]] = field(default_factory=list)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, artifact: str, direction: str) -> list[dict[str, Any]]:
        """The tasks that made (``OUTPUT``) or used (``INPUT``) an artifact."""
        found = [
            link["task_id"]
            for link in self.links
            if link["artifact_id"] == artifact and link["type"] == direction
        ]
        return [self.tasks[key] for key in dict.fromkeys(found) if key in self.tasks]

    def draw(self, middle: str) -> str:
        """The graph: artifacts lead to the tasks that used them, tasks to what they made."""
        after: dict[str, list[str]] = {}
        for link in self.links:
            artifact, task = f"a{link['artifact_id']}", f"t{link['task_id']}"
            before, then = (task, artifact) if link["type"] == "OUTPUT" else (artifact, task)
            after.setdefault(then, []).append(before)
        links = {
            f"t{key}": f"/pipelines/runs/{task['run_id']}#step={quote(key, safe='')}"
            for key, task in self.tasks.items()
        }
        links |= {f"a{key}": f"/artifacts/{key}" for key in self.artifacts}
        steps = [
            Step(
                f"t{key}",
                str(task.get("display_name") or task.get("name")),
                str(task.get("state") or "waiting").lower(),
                after=tuple(after.get(f"t{key}", ())),
            )
            for key, task in self.tasks.items()
        ]
        steps += [
            Step(
                f"a{key}",
                str(artifact.get("name")),
                "artifact",
                after=tuple(after.get(f"a{key}", ())),
            )
            for key, artifact in self.artifacts.items()
        ]
        details = {
            f"a{key}": kind_of(artifact).removeprefix("system.")
            for key, artifact in self.artifacts.items()
        }
        picture = draw_graph(
            shown(StepTree(steps), View()),
            frozenset({f"a{middle}"}),
            lambda key: links.get(key, "#"),
            lambda key: "#",
            details,
        )
        label = f"{len(self.tasks)} steps and {len(self.artifacts)} artifacts"
        return picture.draw("picture graph lineage", label)


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
