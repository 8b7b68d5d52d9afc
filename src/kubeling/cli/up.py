"""``kubeling up``: starts the platform, in the foreground or detached.

Detaching forks before anything heavy is imported; the child reports through a pipe when it is
ready, or why it is not, so the parent prints the same words either way.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from kubeling.cli.errors import CliError
from kubeling.cli.instance import Endpoints, Instance, data_dir_option
from kubeling.cli.settings import (
    Setting,
    api_settings,
    effective,
    engine_settings,
    room_settings,
    start_options,
)

__all__ = ["up"]


class _Report(msgspec.Struct):
    """What a detached platform tells the command that started it."""

    endpoints: Endpoints | None = None
    error: str = ""
    hint: str = ""


@click.command()
@data_dir_option
@start_options
@click.option("--detach", is_flag=True, help="Return when the platform is ready.")
def up(data_dir: Path, detach: bool, **flags: Any) -> None:
    """Start everything: the API, the node, all components and the dashboard.

    In the foreground until ctrl-C, or with --detach until "kubeling down".
    """
    instance = Instance(data_dir)
    settings = effective(instance, flags, os.environ)
    if detach:
        _detach(instance, settings)
    else:
        _serve(instance, settings, report=None)


def _serve(instance: Instance, settings: Mapping[str, Setting], *, report: int | None) -> None:
    began = time.monotonic()
    gc.disable()  # Starting makes thousands of modules' objects and no garbage.
    # The world's certificates, which it loads at import, are read while the rest is imported.
    threading.Thread(target=importlib.import_module, args=("aiohttp",)).start()
    from kubeling.cli.platform import Platform, PlatformOptions, run_platform

    def ready(endpoints: Endpoints) -> None:
        gc.freeze()
        # Objects of the API are trees, which die without its help: it need not look so often.
        gc.set_threshold(10_000, 20)
        gc.enable()
        if report is None:
            _print_ready(instance, endpoints, time.monotonic() - began)
            click.echo("Stop with ctrl-C.")
        else:
            _send(report, _Report(endpoints=endpoints))

    options = PlatformOptions(
        Path(settings["workspace"].value),
        settings["host"].value,
        settings["port"].value,
        settings["controllers"].value,
        engine_settings(settings),
        api_settings(settings),
        room_settings(settings),
        settings["database"].value,
    )
    try:
        with instance.claim():
            run_platform(Platform(instance, options), ready)
    except Exception as error:
        from kubeling.cli.disk import full_disk

        if found := full_disk(error, instance.data_dir):
            raise found from error
        raise


def _detach(instance: Instance, settings: Mapping[str, Setting]) -> None:
    began = time.monotonic()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _become_daemon(instance)
        _child(instance, settings, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    if not text:
        raise CliError("the platform ended before it was ready", f"Look at {instance.log_file}.")
    report = msgspec.json.decode(text, type=_Report)
    if report.endpoints is None:
        raise CliError(report.error, report.hint)
    _print_ready(instance, report.endpoints, time.monotonic() - began)
    click.echo(f"Stop with: kubeling down{instance.option}")


def _child(instance: Instance, settings: Mapping[str, Setting], writing: int) -> None:
    code = 0
    try:
        _serve(instance, settings, report=writing)
    except CliError as error:
        _send(writing, _Report(error=error.message, hint=error.hint))
        code = error.code
    except Exception as error:
        import traceback

        hint = f"This is a defect; {instance.log_file} says where."
        _send(writing, _Report(error=f"{type(error).__name__}: {error}", hint=hint))
        code = 1
        traceback.print_exc()
    finally:
        # The log may be on a full disk; this process must end here nevertheless.
        with contextlib.suppress(OSError):
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


def _print_ready(instance: Instance, endpoints: Endpoints, seconds: float) -> None:
    click.echo(f"Ready in {seconds:.1f} s.")
    click.echo(f"  dashboard   {endpoints.dashboard}")
    click.echo(f"  kubeconfig  {endpoints.kubeconfig}")
    click.echo(f'For kubectl and the SDKs: eval "$(kubeling env{instance.option})"')
