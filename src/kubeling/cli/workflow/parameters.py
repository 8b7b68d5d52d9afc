"""Arguments from ``--parameter`` and ``--parameter-file``."""

from __future__ import annotations

from pathlib import Path

from kubeling.cli.errors import CliError
from kubeling.kube import yaml
from kubeling.workflows.variables import parameter_text

__all__ = ["parameters_of"]


def parameters_of(given: tuple[str, ...], file: Path | None) -> list[str]:
    """What is given, and what the file says."""
    found = list(given)
    if file is None:
        return found
    try:
        content = yaml.load(file.read_text()) or {}
    except OSError as error:
        raise CliError(f"cannot read {file}: {error.strerror}") from None
    except ValueError as error:
        raise CliError(f"{file}: {error}") from None
    if not isinstance(content, dict):
        raise CliError(f"{file}: parameters are a mapping, as in text: hello")
    return found + [f"{name}={parameter_text(value)}" for name, value in content.items()]
