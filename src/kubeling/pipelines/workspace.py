"""The folder that all tasks of a run share, if its pipeline asks for one.

It lies in the artifact store, beside what the tasks make: a claim of its own would give every run a
volume and nothing more. The artifacts that importers put into it are found as the SDK looks for
them: below ``.artifacts``, under their own path.
"""

from __future__ import annotations

from typing import Final

__all__ = ["IN_WORKSPACE", "WORKSPACE", "workspace_artifact", "workspace_folder"]

WORKSPACE: Final = "/kfp-workspace"
IN_WORKSPACE: Final = "_kfp_workspace"
"""In an artifact's metadata: it is in the workspace."""


def workspace_folder(run_folder: str) -> str:
    """Where a run's workspace is kept."""
    return f"{run_folder}/.workspace"


def workspace_artifact(folder: str, path: str) -> str:
    """Where an artifact is in a workspace that is at ``folder``."""
    return f"{folder}/.artifacts/{path.lstrip('/')}"
