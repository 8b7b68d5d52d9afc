"""The platform that a run goes to: the one that is running, or one started for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

from kubeling.cli.errors import CliError
from kubeling.cli.instance import Endpoints, Instance

__all__ = ["running_platform", "start_platform"]


def running_platform(instance: Instance) -> Endpoints:
    """The running platform; if there is none it is started in the present folder."""
    if (found := instance.running()) is not None:
        return found
    click.echo("No platform is running; starting one (stop it with: kubeling down)", err=True)
    return start_platform(instance, Path.cwd())


def start_platform(instance: Instance, workspace: Path) -> Endpoints:
    """Starts a platform in the background and returns when it is ready."""
    command = [sys.executable, "-m", "kubeling", "up", "--detach"]
    command += ["--data-dir", str(instance.data_dir), "--workspace", str(workspace)]
    if instance.endpoints() is None:
        command += ["--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode != 0:
        raise CliError(f"the platform did not start\n{done.stderr.strip()}")
    return instance.require_running()
