"""What is wrong with manifests, as the server would say or, offline, as its rules do."""

from __future__ import annotations

from collections.abc import Sequence

import click

from kubeling.cli.connection import run
from kubeling.cli.manifests import read_manifests
from kubeling.cli.workflow.options import Place
from kubeling.cli.workflow.session import Session, session
from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.errors import AlreadyExists, ApiError
from kubeling.kube.objects import Obj, deep_copy
from kubeling.kube.resources import Resource
from kubeling.workflows.references import check_references, references
from kubeling.workflows.resources import CRON_WORKFLOWS

__all__ = ["lint_objects"]


def lint_objects(
    files: tuple[str, ...],
    kinds: Sequence[Resource],
    output: str,
    strict: bool,
    offline: bool,
    place: Place,
) -> int:
    """Checks the objects of some kinds and says what is wrong with them; the exit code."""
    by_kind = {resource.kind: resource for resource in kinds}
    problems = 0
    for file in files:
        objects = [obj for obj in read_manifests((file,)) if obj["kind"] in by_kind]
        found = (
            _offline(objects, by_kind) if offline else run(_asked(objects, by_kind, strict, place))
        )
        problems += len(found)
        for obj, message in found:
            _say(file, obj, message, output)
    if not problems:
        click.secho("✔ no linting errors found!", fg="green")
        return 0
    click.secho(f"✖ {problems} linting errors found!", fg="red")
    return 1


def _say(file: str, obj: Obj, message: str, output: str) -> None:
    metadata = obj["metadata"]
    named = f'"{metadata.get("name") or metadata.get("generateName", "")}" ({obj["kind"]})'
    if output == "simple":
        click.echo(f"{file}: in {named}: {message}")
    else:
        click.echo(f"{file}:\n   {click.style('✖', 'red')} in {named}: {message}\n")


async def _asked(
    objects: list[Obj], by_kind: dict[str, Resource], strict: bool, place: Place
) -> list[tuple[Obj, str]]:
    found = []
    async with session(place) as opened:
        for obj in objects:
            try:
                await _ask(opened, obj, by_kind[obj["kind"]], strict)
            except ApiError as error:
                found.append((obj, error.message))
    return found


async def _ask(opened: Session, obj: Obj, resource: Resource, strict: bool) -> None:
    checked = deep_copy(obj)
    metadata = checked["metadata"]
    where = metadata.setdefault("namespace", opened.namespace) if resource.namespaced else ""
    await check_references(opened.client, _spec(checked), where)
    query = {"dryRun": "All", "fieldValidation": "Strict" if strict else "Ignore"}
    try:
        await opened.client.raw("POST", resource.path(where), query=query, body=checked)
    except AlreadyExists:
        # A namesake is no mistake in the manifest, and it has been checked all the same.
        return


def _offline(objects: list[Obj], by_kind: dict[str, Resource]) -> list[tuple[Obj, str]]:
    from kubeling.workflows.admission import admissions

    rules = admissions()
    known = {(obj["kind"], obj["metadata"].get("name")): obj for obj in objects}
    found = []
    for obj in objects:
        resource = by_kind[obj["kind"]]
        request = AdmissionRequest(
            resource, "CREATE", obj["metadata"].get("namespace") or "default"
        )
        checked = deep_copy(obj)
        rule = rules[resource]
        if rule.default is not None:
            rule.default(checked, request)
        errors = rule.validate(checked, None, request) if rule.validate is not None else []
        messages = [str(error) for error in errors]
        for reference in references(_spec(checked)):
            target = known.get((reference.resource.kind, reference.name))
            names = [t.get("name") for t in (target or {}).get("spec", {}).get("templates") or ()]
            if target is None or (reference.template and reference.template not in names):
                shown = f"{reference.name}{f'.{reference.template}' if reference.template else ''}"
                messages.append(f"template reference {shown} not found")
        found += [(obj, message) for message in messages]
    return found


def _spec(obj: Obj) -> Obj:
    spec: Obj = obj.get("spec") or {}
    return spec.get("workflowSpec") or {} if obj["kind"] == CRON_WORKFLOWS.kind else spec
