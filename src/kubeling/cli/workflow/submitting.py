"""Submits workflows from files or from a template, and follows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kubeling.cli.errors import CliError
from kubeling.cli.manifests import read_manifests
from kubeling.cli.workflow.display import print_workflow
from kubeling.cli.workflow.following import follow
from kubeling.cli.workflow.options import Place
from kubeling.cli.workflow.session import Session, session
from kubeling.cli.workflow.tree import TreeOptions
from kubeling.kube.objects import Obj, deep_copy, namespace
from kubeling.workflows.operations.submission import (
    SubmitOptions,
    apply_submit_options,
    from_cron_workflow,
    from_template,
    source_kind,
)
from kubeling.workflows.references import check_references
from kubeling.workflows.resources import CRON_WORKFLOWS, WORKFLOWS

__all__ = ["Submission", "submission_options", "submit_all"]


@dataclass(frozen=True, slots=True)
class Submission:
    """What is to be submitted, and how."""

    files: tuple[str, ...]
    source: str
    options: SubmitOptions
    strict: bool
    dry_run: bool
    server_dry_run: bool
    output: str | None


def submission_options(given: dict[str, Any], arguments: list[str]) -> SubmitOptions:
    """What the command line's options change in a workflow."""
    return SubmitOptions(
        name=given["name"],
        generate_name=given["generate_name"],
        entry_point=given["entrypoint"],
        parameters=arguments,
        service_account=given["serviceaccount"],
        labels=given["labels"],
        annotations=given["annotations"],
        priority=given["priority"],
    )


async def submit_all(
    what: Submission, place: Place, tree: TreeOptions, *, wait: bool, watch: bool, log: bool
) -> int:
    """Submits, prints what was made, and follows it as asked; the exit code."""
    objects = _workflows(what.files) if what.files else []
    async with session(place) as opened:
        names = []
        for workflow in objects or [await _from(opened, what.source)]:
            apply_submit_options(workflow, what.options)
            made = await _submit(opened, workflow, what)
            print_workflow(made, what.output, opened.now())
            names.append(str(made["metadata"].get("name") or ""))
        if what.dry_run or what.server_dry_run:
            return 0
        if watch and len(names) > 1:
            raise CliError("cannot watch more than one workflow")
        quiet = what.output not in (None, "wide")
        return await follow(
            opened, names, wait=wait, watch=watch, log=log, options=tree, quiet=quiet
        )


def _workflows(files: tuple[str, ...]) -> list[Obj]:
    found = [obj for obj in read_manifests(files) if obj["kind"] == WORKFLOWS.kind]
    if not found:
        raise CliError("no workflow found in given files", "Other kinds: kubeling apply -f FILE.")
    return found


async def _from(opened: Session, source: str) -> Obj:
    kind, _, wanted = source.partition("/")
    if not wanted:
        raise CliError(
            f"resource identifier '{source}' is malformed",
            "Should be KIND/NAME, as in cronwf/hello-world-cwf.",
        )
    resource = source_kind(kind)
    where = opened.namespace if resource.namespaced else ""
    found = await opened.client.get(resource, wanted, where)
    if resource is CRON_WORKFLOWS:
        return from_cron_workflow(found, opened.now())
    return from_template(found, resource)


async def _submit(opened: Session, workflow: Obj, what: Submission) -> Obj:
    workflow["metadata"].setdefault("namespace", opened.namespace)
    where = namespace(workflow)
    await check_references(opened.client, workflow.get("spec") or {}, where)
    query = {"fieldValidation": "Strict" if what.strict else "Ignore"}
    if what.dry_run or what.server_dry_run:
        query["dryRun"] = "All"
    path = WORKFLOWS.path(where)
    made = await opened.client.raw("POST", path, query=query, body=deep_copy(workflow))
    return workflow if what.dry_run else made
