"""``kubeling up``: starts the platform, in the foreground or detached.

Detaching forks before anything heavy is imported; the child reports through a pipe when it is
ready, or why it is not, so the parent prints the same words either way.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

import click
import msgspec

from kubeling.cli.errors import CliError
from kubeling.cli.instance import Endpoints, Instance, data_dir_option

__all__ = ["up"]

DEFAULT_PORT: Final = 8080


class _Report(msgspec.Struct):
    """What a detached platform tells the command that started it."""

    endpoints: Endpoints | None = None
    error: str = ""
    hint: str = ""


@click.command()
@data_dir_option
@click.option(
    "--workspace",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path.cwd,
    show_default="the current folder",
    help="The folder in which steps find your scripts and data.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=None,
    show_default=f"as last time, else {DEFAULT_PORT}",
    help="The dashboard's port; 0 takes a free one.",
)
@click.option("--detach", is_flag=True, help="Return when the platform is ready.")
@click.option(
    "--no-controllers",
    is_flag=True,
    help="Leave the controllers to another process (kubeling controllers).",
)
def up(
    data_dir: Path,
    workspace: Path,
    host: str,
    port: int | None,
    detach: bool,
    no_controllers: bool,
) -> None:
    """Start everything: the API, the node, all components and the dashboard.

    In the foreground until ctrl-C, or with --detach until "kubeling down".
    """
    instance = Instance(data_dir)
    if port is None:
        before = instance.endpoints()
        port = before.gateway_port if before else DEFAULT_PORT
    arguments = (instance, workspace.absolute(), host, port, not no_controllers)
    if detach:
        _detach(*arguments)
    else:
        _serve(*arguments, report=None)


def _serve(
    instance: Instance,
    workspace: Path,
    host: str,
    port: int,
    controllers: bool,
    *,
    report: int | None,
) -> None:
    began = time.monotonic()
    gc.disable()  # Starting makes thousands of modules' objects and no garbage.
    from kubeling.cli.platform import Platform, PlatformOptions, run_platform

    def ready(endpoints: Endpoints) -> None:
        gc.freeze()
        gc.enable()
        if report is None:
            _print_ready(endpoints, time.monotonic() - began)
            click.echo("Stop with ctrl-C.")
        else:
            _send(report, _Report(endpoints=endpoints))

    with instance.claim():
        options = PlatformOptions(workspace, host, port, controllers)
        run_platform(Platform(instance, options), ready)


def _detach(instance: Instance, workspace: Path, host: str, port: int, controllers: bool) -> None:
    began = time.monotonic()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _become_daemon(instance)
        _child(instance, workspace, host, port, controllers, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    if not text:
        raise CliError("the platform ended before it was ready", f"Look at {instance.log_file}.")
    report = msgspec.json.decode(text, type=_Report)
    if report.endpoints is None:
        raise CliError(report.error, report.hint)
    _print_ready(report.endpoints, time.monotonic() - began)
    click.echo("Stop with: kubeling down")


def _child(
    instance: Instance, workspace: Path, host: str, port: int, controllers: bool, writing: int
) -> None:
    code = 0
    try:
        _serve(instance, workspace, host, port, controllers, report=writing)
    except CliError as error:
        _send(writing, _Report(error=error.message, hint=error.hint))
        code = error.code
    except Exception as error:
        import traceback

        traceback.print_exc()
        hint = f"This is a defect; {instance.log_file} says where."
        _send(writing, _Report(error=f"{type(error).__name__}: {error}", hint=hint))
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _become_daemon(instance: Instance) -> None:
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        instance.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        log = os.open(instance.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        # The claim that follows says what is wrong with the directory.
        log = os.open(os.devnull, os.O_WRONLY)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(log)


def _send(pipe: int, report: _Report) -> None:
    try:
        os.write(pipe, msgspec.json.encode(report))
        os.close(pipe)
    except OSError:
        # The command that started us is gone, or was told already.
        return


def _print_ready(endpoints: Endpoints, seconds: float) -> None:
    click.echo(f"Ready in {seconds:.1f} s.")
    click.echo(f"  dashboard   {endpoints.dashboard}")
    click.echo(f"  kubeconfig  {endpoints.kubeconfig}")
    click.echo('For kubectl and the SDKs: eval "$(kubeling env)"')
