"""What can be set about a platform, and where each value came from.

One typed list of settings, resolved in one place: a flag, else ``$KUBELING_…``, else
``config.yaml`` in the data directory, else the default. ``kubeling up`` starts with the result and
``kubeling config`` prints it, so what is printed is what holds. The API server's settings are
kube-apiserver's flags by their own names; files that ``config.yaml`` names lie beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import click
import msgspec

from kubeling.apiserver.settings import ApiSettings
from kubeling.cli.errors import CliError
from kubeling.cli.instance import Instance
from kubeling.engine.config import EngineConfig
from kubeling.gateway.settings import GatewaySettings
from kubeling.pipelines.settings import PipelineSettings
from kubeling.serving.settings import ServingSettings
from kubeling.training.settings import TrainingSettings
from kubeling.workflows.settings import WorkflowSettings

__all__ = [
    "Setting",
    "api_settings",
    "check_database",
    "database_of",
    "effective",
    "engine_settings",
    "room_settings",
    "rooms_in_environment",
    "start_options",
]

F = TypeVar("F", bound=Callable[..., Any])

_API_FLAG: Final = "api_"
_HOST: Final = "127.0.0.1"
_PORT: Final = 8080

_API: Final = "api."
_ENGINE: Final = "engine."
_ROOMS: Final[dict[str, type[msgspec.Struct]]] = {
    "gateway": GatewaySettings,
    "pipelines": PipelineSettings,
    "serving": ServingSettings,
    "training": TrainingSettings,
    "workflows": WorkflowSettings,
}
"""Components with settings of their own, ``pipelines.multi_user`` and the like."""
_FOUND_AT_START: Final = frozenset(
    {"data_dir", "workspace", "api_host", "api_port", "dns_server", "service_cidr"}
)
"""Fields of the engine's settings that the platform itself fills in."""

_TYPES: Final[dict[str, Any]] = (
    {
        "workspace": str,
        "host": str,
        "port": Annotated[int, msgspec.Meta(ge=0, le=65535)],
        "controllers": bool,
        "database": str,
    }
    | {f"{_API}{field.name}": field.type for field in msgspec.structs.fields(ApiSettings)}
    | {
        f"{_ENGINE}{field.name}": field.type
        for field in msgspec.structs.fields(EngineConfig)
        if field.name not in _FOUND_AT_START
    }
    | {
        f"{room}.{field.name}": field.type
        for room, config in _ROOMS.items()
        for field in msgspec.structs.fields(config)
    }
)
_FILES: Final = frozenset({
    "api.token_auth_file", "api.authentication_config", "api.oidc_ca_file",
    "api.audit_log_path", "api.audit_policy_file",
})  # fmt: skip
_FLAGS: Final = {"extended_resources": f"{_ENGINE}capacity"}
"""Flags that are named otherwise than what they set."""


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
    for flag, value in flags.items():
        name = flag.replace(_API_FLAG, _API, 1) if flag.startswith(_API_FLAG) else flag
        name = _FLAGS.get(name, name)
        if value is not None and value != ():
            found[name] = Setting(name, _typed(name, value, f"--{_flag(name)}"), "flag")
    for name in _FILES:
        found[name] = _located(found[name], instance)
    check_database(found["database"].value)
    workspace = Path(found["workspace"].value).expanduser().absolute()
    if not workspace.is_dir():
        source = found["workspace"].source
        raise CliError(f"workspace ({source}): there is no folder {workspace}")
    found["workspace"] = Setting("workspace", str(workspace), found["workspace"].source)
    return found


def check_database(url: str) -> None:
    """Refuses the URL of a metadata database that cannot be used; none is the default."""
    if not url:
        return
    from kubeling.metadata.urls import UnusableUrl, driver_url

    try:
        driver_url(url)
    except UnusableUrl as error:
        raise CliError(str(error)) from None


def database_of(instance: Instance, environ: Mapping[str, str]) -> str:
    """The metadata database's URL for commands beside a platform: no flag of its start is known."""
    settings = [*_from_file(instance.config_file), *_from_environment(environ)]
    return next((str(s.value) for s in reversed(settings) if s.name == "database"), "")


def start_options(command: F) -> F:
    """Adds the flags of a start; the function receives them by the settings' names."""
    for field in reversed(msgspec.structs.fields(ApiSettings)):
        command = _api_option(field)(command)
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
        click.option(
            "--extended-resources",
            metavar="NAME=COUNT[,…]",
            callback=_amounts,
            help="Devices the node is to have, e.g. nvidia.com/gpu=4.",
            show_default="the GPUs found",
        ),
        click.option(
            "--database",
            metavar="URL",
            show_default="a file of SQLite in the data directory",
            help="The metadata database: postgresql://… or mysql://….",
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


def _api_option(field: msgspec.structs.FieldInfo) -> Callable[[F], F]:
    """A flag of kube-apiserver's: a list is given with commas, a mapping as ``KEY=VALUE``."""
    described = msgspec.inspect.type_info(field.type)
    assert isinstance(described, msgspec.inspect.Metadata)
    assert described.extra_json_schema is not None
    shape, mapping = described.type, isinstance(described.type, msgspec.inspect.DictType)
    read: Any = {
        msgspec.inspect.BoolType: bool,
        msgspec.inspect.IntType: int,
        msgspec.inspect.VarTupleType: _Listed(),
    }.get(type(shape), str)
    return click.option(
        f"--{_flag(_API + field.name)}",
        f"{_API_FLAG}{field.name}",
        type=read,
        multiple=mapping,
        metavar="KEY=VALUE" if mapping else None,
        callback=_pairs if mapping else None,
        help=described.extra_json_schema["description"],
    )


class _Listed(click.ParamType[Any]):
    """``a,b,c``"""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value.split(",")


def _pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Any:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f'"{value}" should be KEY=VALUE')
    return dict(value.split("=", 1) for value in values) or None


def api_settings(settings: Mapping[str, Setting]) -> ApiSettings:
    """Those that are the API server's."""
    return ApiSettings(
        **{
            name.removeprefix(_API): setting.value
            for name, setting in settings.items()
            if name.startswith(_API)
        }
    )


def _amounts(context: click.Context, option: click.Parameter, text: str | None) -> Any:
    """``nvidia.com/gpu=4,example.com/fpga=1`` as a mapping."""
    if text is None:
        return None
    amounts = {}
    for part in text.split(","):
        name, _, amount = part.partition("=")
        if "/" not in name or not amount.isdecimal():
            raise click.BadParameter(f'"{part}" is not of the form example.com/name=COUNT')
        amounts[name.strip()] = amount
    return amounts


def engine_settings(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """Those that are the engine's, by the names of their fields."""
    return {
        name.removeprefix(_ENGINE): setting.value
        for name, setting in settings.items()
        if name.startswith(_ENGINE)
    }


def room_settings(settings: Mapping[str, Setting]) -> dict[str, dict[str, Any]]:
    """Those that are components', by component and by the names of their fields."""
    found: dict[str, dict[str, Any]] = {room: {} for room in _ROOMS}
    for name, setting in settings.items():
        room, _, field = name.partition(".")
        if room in found and setting.source != "default":
            found[room][field] = setting.value
    return found


def rooms_in_environment(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Settings of components where there is no data directory with a ``config.yaml``."""
    return room_settings({setting.name: setting for setting in _from_environment(environ)})


def variable(name: str) -> str:
    """The environment variable of a setting: ``KUBELING_ENGINE_MAX_PODS``."""
    return f"KUBELING_{name.replace('.', '_').upper()}"


def _flag(name: str) -> str:
    """The flag of a setting: ``oidc-issuer-url``."""
    return name.removeprefix(_API).replace("_", "-")


def _located(setting: Setting, instance: Instance) -> Setting:
    """A file's setting with its full path."""
    if setting.value in ("", "-"):
        return setting
    root = instance.data_dir if setting.source == instance.config_file.name else Path.cwd()
    return replace(setting, value=str(root / Path(setting.value).expanduser()))


def _defaults(instance: Instance) -> Iterator[Setting]:
    yield Setting("workspace", str(Path.cwd()), "current folder")
    yield Setting("host", _HOST, "default")
    before = instance.endpoints()
    if before is None:
        yield Setting("port", _PORT, "default")
    else:
        yield Setting("port", before.gateway_port, "last start")
    yield Setting("controllers", True, "default")
    yield Setting("database", "", "default")
    groups: list[tuple[str, type[msgspec.Struct]]] = [(_API, ApiSettings), (_ENGINE, EngineConfig)]
    groups += [(f"{room}.", config) for room, config in _ROOMS.items()]
    for prefix, config in groups:
        for field in msgspec.structs.fields(config):
            if f"{prefix}{field.name}" in _TYPES:
                factory = field.default_factory
                value = field.default if factory is msgspec.NODEFAULT else factory()
                yield Setting(f"{prefix}{field.name}", value, "default")


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
        if (f"{name}." in (_API, _ENGINE) or name in _ROOMS) and isinstance(value, dict):
            yield from ((f"{name}.{inner}", given) for inner, given in value.items())
        else:
            yield str(name), value


def _from_environment(environ: Mapping[str, str]) -> Iterator[Setting]:
    for name, type_ in _TYPES.items():
        text = environ.get(variable(name), "")
        if text:
            value = text if _is_text(type_) else _parsed(text)
            yield Setting(name, _typed(name, value, variable(name)), f"${variable(name)}")


def _is_text(type_: Any) -> bool:
    described = msgspec.inspect.type_info(type_)
    if isinstance(described, msgspec.inspect.Metadata):
        described = described.type
    return isinstance(described, msgspec.inspect.StrType)


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
