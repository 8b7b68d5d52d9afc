"""Where packages come from: pip's settings, handed on to uv where that has none of its own.

uv reads its variables and its ``uv.toml`` by itself. It ignores pip's, which many machines with a
mirror, a proxy or a folder of wheels have: what pip would do there is what users expect.
"""

from __future__ import annotations

import configparser
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["own_of_uv", "pip_settings", "uv_options", "uv_variables"]

_SECTIONS: Final = ("global", "install")
_SOURCES: Final = ("index", "index-url", "extra-index-url", "find-links", "no-index")
_UV_SOURCES: Final = (
    "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS",
)  # fmt: skip
_VARIABLES: Final = {
    "trusted-host": "UV_INSECURE_HOST",
    "constraint": "UV_CONSTRAINT",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
}
_OF_THE_MACHINE: Final = (Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"))
_UV_OF_THE_MACHINE: Final = Path("/etc/uv/uv.toml")
_TRUE: Final = ("1", "true", "yes", "on")


def pip_settings(
    environ: Mapping[str, str], home: Path, machine: Sequence[Path] = _OF_THE_MACHINE
) -> dict[str, str]:
    """What pip would read: its files, the most general first, then its variables."""
    files = [
        *machine,
        home / ".pip" / "pip.conf",
        Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf",
    ]
    if given := environ.get("PIP_CONFIG_FILE"):
        files = [] if given == "/dev/null" else [*files, Path(given)]
    found: dict[str, str] = {}
    for file in files:
        found.update(_of_file(file))
    for name, value in environ.items():
        if name.startswith("PIP_") and value:
            found[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return found


def own_of_uv(
    environ: Mapping[str, str], home: Path, workspace: Path, machine: Path = _UV_OF_THE_MACHINE
) -> bool:
    """Whether uv has been told where packages come from."""
    if any(environ.get(name) for name in _UV_SOURCES):
        return True
    if given := environ.get("UV_CONFIG_FILE"):
        return _names_sources(Path(given), ())
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    for file in (machine, config / "uv" / "uv.toml"):
        if _names_sources(file, ()):
            return True
    for folder in (workspace, *workspace.parents):
        if _names_sources(folder / "uv.toml", ()):
            return True
        if _names_sources(folder / "pyproject.toml", ("tool", "uv")):
            return True
    return False


def uv_variables(
    pip: Mapping[str, str], environ: Mapping[str, str], *, sources: bool
) -> dict[str, str]:
    """Variables for uv that do what pip's settings say; with ``sources``, its indexes too."""
    found = {_VARIABLES[key]: value for key, value in pip.items() if key in _VARIABLES}
    if pip.get("pre", "").lower() in _TRUE:
        found["UV_PRERELEASE"] = "allow"
    if sources:
        found.update(_sources(pip))
    return {name: value for name, value in found.items() if not environ.get(name)}


def uv_options(pip: Mapping[str, str], *, sources: bool) -> list[str]:
    """Options for ``uv pip install`` that uv has no variables for."""
    options = ["--no-index"] if sources and pip.get("no-index", "").lower() in _TRUE else []
    for key in ("only-binary", "no-binary"):
        for package in pip.get(key, "").replace(",", " ").split():
            options += [f"--{key}", package]
    return options


def _sources(pip: Mapping[str, str]) -> dict[str, str]:
    found = {}
    if index := pip.get("index-url"):
        found["UV_DEFAULT_INDEX"] = index
    if extra := _there(pip.get("extra-index-url", "").split()):
        found["UV_INDEX"] = " ".join(extra)
        # pip takes the best version of all indexes, uv the first index that has any.
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if links := _there(pip.get("find-links", "").split()):
        found["UV_FIND_LINKS"] = ",".join(links)
    return found


def _there(places: Iterable[str]) -> list[str]:
    """Without folders that do not exist: pip only warns about them, uv fails."""
    return [
        place
        for place in places
        if (":" in place and not place.startswith("file:"))
        or Path(place.removeprefix("file://")).expanduser().exists()
    ]


def _of_file(file: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(file.read_text())
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}
    found: dict[str, str] = {}
    for section in _SECTIONS:
        if parser.has_section(section):
            found.update({k.replace("_", "-"): v for k, v in parser.items(section) if v})
    return found


def _names_sources(file: Path, within: tuple[str, ...]) -> bool:
    try:
        content = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return False
    for key in within:
        content = content.get(key) or {}
    return any(key in part for part in (content, content.get("pip") or {}) for key in _SOURCES)
