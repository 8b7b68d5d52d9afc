"""Creates, lists, shows and deletes templates and CronWorkflows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import click

from kubeling.cli.errors import CliError
from kubeling.cli.manifests import read_manifests
from kubeling.cli.workflow.display import document
from kubeling.cli.workflow.options import Place
from kubeling.cli.workflow.session import Session, session
from kubeling.cli.workflow.times import short_duration
from kubeling.cli.workflow.tree import table
from kubeling.kube.objects import Obj, name
from kubeling.kube.resources import Resource
from kubeling.workflows.cron_rules import schedules
from kubeling.workflows.resources import (
    CLUSTER_WORKFLOW_TEMPLATES,
    CRON_WORKFLOWS,
    WORKFLOW_TEMPLATES,
)

__all__ = ["KINDS", "delete", "get", "list_objects", "suspend", "write"]

KINDS: Final[dict[str, Resource]] = {
    resource.kind: resource
    for resource in (WORKFLOW_TEMPLATES, CLUSTER_WORKFLOW_TEMPLATES, CRON_WORKFLOWS)
}


async def write(
    kind: str, verb: str, files: tuple[str, ...], strict: bool, output: str | None, place: Place
) -> None:
    """Creates or replaces the objects of the kind that are in the files."""
    objects = [obj for obj in read_manifests(files) if obj["kind"] == kind]
    if not objects:
        raise CliError(f"no {kind} found in given files")
    async with session(place) as opened:
        for obj in objects:
            _show(KINDS[kind], await _write(opened, KINDS[kind], obj, verb, strict), output)


async def list_objects(
    kind: str, all_namespaces: bool, selector: str, output: str | None, place: Place
) -> None:
    """Prints the objects of the kind."""
    resource = KINDS[kind]
    async with session(place) as opened:
        where = "" if all_namespaces else opened.namespace
        found = (await opened.client.list(resource, where, labels=selector)).items
        if output in ("json", "yaml"):
            click.echo(document(found, output), nl=False)
        elif not found:
            click.echo(f"No {kind}s found")
        elif output == "name":
            click.echo("\n".join(name(obj) for obj in found))
        else:
            click.echo(table(list(_rows(opened, resource, found, all_namespaces))))


async def get(kind: str, names: tuple[str, ...], output: str | None, place: Place) -> None:
    """Prints the objects of these names."""
    resource = KINDS[kind]
    async with session(place) as opened:
        for wanted in names:
            found = await opened.client.get(resource, wanted, _where(opened, resource))
            _show(resource, found, output)


async def delete(kind: str, names: tuple[str, ...], everything: bool, place: Place) -> None:
    """Deletes the objects of these names, or all."""
    resource = KINDS[kind]
    async with session(place) as opened:
        where, found = _where(opened, resource), list(names)
        if everything:
            found += [name(obj) for obj in (await opened.client.list(resource, where)).items]
        for wanted in dict.fromkeys(found):
            await opened.client.delete(resource, wanted, where, propagation="Background")
            click.echo(f"{kind} '{wanted}' deleted")


async def suspend(names: tuple[str, ...], suspended: bool, place: Place) -> None:
    """Suspends or resumes CronWorkflows."""
    async with session(place) as opened:
        for wanted in names:
            patch = {"spec": {"suspend": suspended}}
            await opened.client.patch(CRON_WORKFLOWS, wanted, patch, opened.namespace)
            click.echo(f"CronWorkflow '{wanted}' {'suspended' if suspended else 'resumed'}")


async def _write(opened: Session, resource: Resource, obj: Obj, verb: str, strict: bool) -> Obj:
    query = {"fieldValidation": "Strict" if strict else "Ignore"}
    metadata = obj["metadata"]
    where = metadata.setdefault("namespace", opened.namespace) if resource.namespaced else ""
    if verb == "create":
        return await opened.client.raw("POST", resource.path(where), query=query, body=obj)
    current = await opened.client.get(resource, name(obj), where)
    metadata["resourceVersion"] = current["metadata"]["resourceVersion"]
    path = resource.path(where, name(obj))
    return await opened.client.raw("PUT", path, query=query, body=obj)


def _where(opened: Session, resource: Resource) -> str:
    return opened.namespace if resource.namespaced else ""


def _rows(
    opened: Session, resource: Resource, found: list[Obj], namespaces: bool
) -> Iterator[list[str]]:
    is_cron = resource is CRON_WORKFLOWS
    head = ["NAME", "AGE", "LAST RUN", "SCHEDULES", "TIMEZONE", "SUSPENDED"]
    spans = namespaces and resource.namespaced
    yield (["NAMESPACE"] if spans else []) + (head if is_cron else head[:1])
    for obj in found:
        row = [name(obj), *(_cron_cells(opened, obj) if is_cron else ())]
        yield [obj["metadata"]["namespace"], *row] if spans else row


def _cron_cells(opened: Session, cron: Obj) -> Iterator[str]:
    spec, now = cron["spec"], opened.now()
    last = (cron.get("status") or {}).get("lastScheduledTime")
    yield short_duration(cron["metadata"]["creationTimestamp"], None, now)
    yield short_duration(last, None, now) if last else "N/A"
    yield ",".join(schedules(spec))
    yield str(spec.get("timezone") or "")
    yield str(bool(spec.get("suspend"))).lower()


def _show(resource: Resource, obj: Obj, output: str | None) -> None:
    if output == "name":
        click.echo(name(obj))
    elif output in ("json", "yaml"):
        click.echo(document(obj, output), nl=False)
    else:
        for label, value in _facts(resource, obj).items():
            if value is not None:
                click.echo(f"{f'{label}:':<30} {value}")


def _facts(resource: Resource, obj: Obj) -> dict[str, Any]:
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    facts: dict[str, Any] = {
        "Name": name(obj),
        "Namespace": metadata.get("namespace"),
        "Created": metadata.get("creationTimestamp"),
    }
    if resource is not CRON_WORKFLOWS:
        names = [str(template.get("name")) for template in spec.get("templates") or ()]
        return {**facts, "Templates": ", ".join(names)}
    return {
        **facts,
        "Schedules": ",".join(schedules(spec)),
        "Suspended": str(bool(spec.get("suspend"))).lower(),
        "Timezone": spec.get("timezone"),
        "StartingDeadlineSeconds": spec.get("startingDeadlineSeconds"),
        "ConcurrencyPolicy": spec.get("concurrencyPolicy"),
        "LastScheduledTime": status.get("lastScheduledTime"),
        "Active Workflows": ", ".join(w["name"] for w in status.get("active") or ()) or None,
    }
