"""What can be set about a platform, and where each value came from.

One typed list of settings, resolved in one place: a flag, else ``$KUBELING_…``, else
``config.yaml`` in the data directory, else the default. ``kubeling up`` starts with the result and
``kubeling config`` prints it, so what is printed is what holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import click
import msgspec

from kubeling.cli.errors import CliError
from kubeling.cli.instance import Instance
from kubeling.engine.config import EngineConfig

__all__ = ["Setting", "effective", "engine_settings", "start_options"]

F = TypeVar("F", bound=Callable[..., Any])

_HOST: Final = "127.0.0.1"
_PORT: Final = 8080

_ENGINE: Final = "engine."
_FOUND_AT_START: Final = frozenset({"data_dir", "workspace", "api_host", "api_port", "dns_server"})
"""Fields of the engine's settings that the platform itself fills in."""

_TYPES: Final[dict[str, Any]] = {
    "workspace": str,
    "host": str,
    "port": Annotated[int, msgspec.Meta(ge=0, le=65535)],
    "controllers": bool,
} | {
    f"{_ENGINE}{field.name}": field.type
    for field in msgspec.structs.fields(EngineConfig)
    if field.name not in _FOUND_AT_START
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it holds."""

    name: str
    value: Any
    source: str


def effective(
    instance: Instance, flags: Mapping[str, Any], environ: Mapping[str, str]
) -> dict[str, Setting]:
    """Every setting with its value and where that came from; ``None`` among flags is not given."""
    found = {setting.name: setting for setting in _defaults(instance)}
    found |= {setting.name: setting for setting in _from_file(instance.config_file)}
    found |= {setting.name: setting for setting in _from_environment(environ)}
    for name, value in flags.items():
        if value is not None:
            found[name] = Setting(name, value, "flag")
    workspace = Path(found["workspace"].value).expanduser().absolute()
    if not workspace.is_dir():
        source = found["workspace"].source
        raise CliError(f"workspace ({source}): there is no folder {workspace}")
    found["workspace"] = Setting("workspace", str(workspace), found["workspace"].source)
    return found


def start_options(command: F) -> F:
    """Adds the flags of a start; the function receives them by the settings' names."""
    for option in (
        click.option(
            "--no-controllers",
            "controllers",
            flag_value=False,
            default=None,
            type=bool,
            help="Leave the controllers to another process (kubeling controllers).",
        ),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            show_default=f"as last time, else {_PORT}",
            help="The dashboard's port; 0 takes a free one.",
        ),
        click.option("--host", show_default=_HOST, help="The address to listen on."),
        click.option(
            "--workspace",
            type=click.Path(exists=True, file_okay=False),
            show_default="the current folder",
            help="The folder in which steps find your scripts and data.",
        ),
    ):
        command = option(command)
    return command


def engine_settings(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """Those that are the engine's, by the names of their fields."""
    return {
        name.removeprefix(_ENGINE): setting.value
        for name, setting in settings.items()
        if name.startswith(_ENGINE)
    }


def variable(name: str) -> str:
    """The environment variable of a setting: ``KUBELING_ENGINE_MAX_PODS``."""
    return f"KUBELING_{name.replace('.', '_').upper()}"


def _defaults(instance: Instance) -> Iterator[Setting]:
    yield Setting("workspace", str(Path.cwd()), "current folder")
    yield Setting("host", _HOST, "default")
    before = instance.endpoints()
    if before is None:
        yield Setting("port", _PORT, "default")
    else:
        yield Setting("port", before.gateway_port, "last start")
    yield Setting("controllers", True, "default")
    for field in msgspec.structs.fields(EngineConfig):
        if field.name not in _FOUND_AT_START:
            factory = field.default_factory
            value = field.default if factory is msgspec.NODEFAULT else factory()
            yield Setting(f"{_ENGINE}{field.name}", value, "default")


def _from_file(path: Path) -> Iterator[Setting]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return
    for name, value in _flat(_mapping(path, text)):
        if name not in _TYPES:
            raise CliError(
                f'{path}: there is no setting "{name}"', f"There are: {', '.join(_TYPES)}."
            )
        yield Setting(name, _typed(name, value, str(path)), path.name)


def _mapping(path: Path, text: str) -> dict[str, Any]:
    from kubeling.kube import yaml

    try:
        content = yaml.load(text) or {}
    except ValueError as error:
        raise CliError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise CliError(f"{path}: should hold settings, as in port: {_PORT}")
    return content


def _flat(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if name == _ENGINE.rstrip(".") and isinstance(value, dict):
            yield from ((f"{_ENGINE}{inner}", given) for inner, given in value.items())
        else:
            yield str(name), value


def _from_environment(environ: Mapping[str, str]) -> Iterator[Setting]:
    for name, type_ in _TYPES.items():
        text = environ.get(variable(name), "")
        if text:
            value = text if type_ is str else _parsed(text)
            yield Setting(name, _typed(name, value, variable(name)), f"${variable(name)}")


def _parsed(text: str) -> Any:
    from kubeling.kube import yaml

    try:
        return yaml.load(text)
    except ValueError:
        return text


def _typed(name: str, value: Any, source: str) -> Any:
    try:
        return msgspec.convert(value, _TYPES[name])
    except msgspec.ValidationError as error:
        raise CliError(f"{source}: {name} is {value!r}: {error}") from None
