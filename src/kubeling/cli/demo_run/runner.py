"""Runs the stages in order and reports: a table for people, or JSON."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import click
import msgspec

from kubeling.cli.demo_run.link import Link, StageFailed
from kubeling.cli.demo_run.session import Session
from kubeling.cli.demo_run.stages import STAGES
from kubeling.cli.demo_run.view import View
from kubeling.cli.errors import CliError
from kubeling.cli.instance import Endpoints, Instance
from kubeling.kube.errors import ApiError

__all__ = ["run_demo"]


async def run_demo(instance: Instance, endpoints: Endpoints, workspace: Path, as_json: bool) -> int:
    """Runs the main job; returns the exit code."""
    link = Link(instance, endpoints)
    async with aiohttp.ClientSession() as http:
        session = Session(link, workspace, http)
        try:
            results, error = await _run(session, View("The main job", quiet=as_json))
        finally:
            await link.close()
    if as_json:
        shown = {
            "ok": error is None,
            "error": str(error) if error else "",
            "stages": results,
            "numbers": session.facts,
            "dashboard": session.url,
        }
        click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
        return 0 if error is None else 1
    _print_table(results, session)
    if error is not None:
        raise error
    return 0


async def _run(session: Session, view: View) -> tuple[list[dict[str, Any]], CliError | None]:
    results: list[dict[str, Any]] = []
    with view.shown():
        for stage in STAGES:
            view.update(stage.name, "running")
            session.say = partial(view.update, stage.name, "running")
            session.link.waiting = partial(view.update, stage.name, "interrupted")
            began = time.monotonic()
            error: CliError | None = None
            try:
                line = await stage.run(session)
            except CliError as failed:
                error = failed
            except (ApiError, ConnectionError, aiohttp.ClientError) as failed:
                error = StageFailed(f"{stage.name}: {failed}")
            seconds = round(time.monotonic() - began, 2)
            if error is not None:
                view.update(stage.name, "failed", error.message)
                results.append(_result(stage.name, False, seconds, error.message))
                return results, error
            view.update(stage.name, "done", line)
            results.append(_result(stage.name, True, seconds, line))
    return results, None


def _result(name: str, ok: bool, seconds: float, line: str) -> dict[str, Any]:
    return {"stage": name, "ok": ok, "seconds": seconds, "result": line}


def _print_table(results: list[dict[str, Any]], session: Session) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(title="The main job", title_justify="left")
    table.add_column("stage")
    table.add_column("time", justify="right")
    table.add_column("result", overflow="fold")
    for row in results:
        style = "" if row["ok"] else "red"
        table.add_row(row["stage"], f"{row['seconds']:.1f} s", row["result"], style=style)
    console.print(table)
    for title, path in (
        ("dashboard", "/"),
        ("pipeline run", f"/pipelines/runs/{session.facts.get('run_id', '')}"),
        ("experiment", "/objects/kubeflow.org/v1beta1/Experiment/default/breast-cancer"),
        (
            "served model",
            "/objects/serving.kserve.io/v1beta1/InferenceService/default/breast-cancer",
        ),
        ("registry", "/registry"),
    ):
        console.print(f"  {title:<13} {session.url}{path}", soft_wrap=True)
    data_dir = session.link.instance.data_dir
    console.print(f"Stop it with: kubeling down --data-dir {data_dir}", soft_wrap=True)
