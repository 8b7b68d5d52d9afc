"""``kubeling config``: the settings as the next start will have them, and where each came from."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from kubeling.cli.instance import Instance, data_dir_option
from kubeling.cli.settings import Setting, effective, start_options

__all__ = ["config"]

_PASSWORD: Final = re.compile(r"(://[^:/@]*:)[^@/]*@")


@click.command()
@data_dir_option
@start_options
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def config(data_dir: Path, output: str, **flags: Any) -> None:
    """Print every setting with its value, and where that came from.

    A flag wins over the environment (KUBELING_PORT, KUBELING_ENGINE_MAX_PODS ...), that over
    config.yaml in the data directory (port: 8090, engine: {max_pods: 200}), that over the default.
    What is shown holds from the next start.
    """
    instance = Instance(data_dir)
    source = click.get_current_context().get_parameter_source("data_dir")
    given = source is click.core.ParameterSource.COMMANDLINE
    where = "flag" if given else _origin()
    settings = [
        Setting("data_dir", str(instance.data_dir), where),
        *map(_shown, effective(instance, flags, os.environ).values()),
    ]
    if output == "json":
        shown = {s.name: {"value": s.value, "source": s.source} for s in settings}
        click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
        return
    width = max(len(s.name) for s in settings)
    for setting in settings:
        text = setting.value if isinstance(setting.value, str) else _json(setting.value)
        click.echo(f"{setting.name.ljust(width)}  {text}  ({setting.source})")


def _shown(setting: Setting) -> Setting:
    """Without a password in an address."""
    if not isinstance(setting.value, str):
        return setting
    return replace(setting, value=_PASSWORD.sub(r"\1***@", setting.value))


def _origin() -> str:
    return "$KUBELING_DATA_DIR" if os.environ.get("KUBELING_DATA_DIR") else "default"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
