"""Checkouts of Git repositories as artifacts, by the ``git`` command.

Upstream: ``workflow/artifacts/git`` of argo-workflows.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from kubeling.artifacts.errors import ArtifactError, ArtifactNotFound
from kubeling.artifacts.locations import Git, secret_value

__all__ = ["checkout"]

_ASK: Final = """#!/bin/sh
case "$1" in
  *"//$GIT_ARTIFACT_HOST'"* | *"@$GIT_ARTIFACT_HOST'"*) ;;
  *) exit 1 ;;
esac
case "$1" in
  Username*) printf %s "$GIT_ARTIFACT_USER" ;;
  *) printf %s "$GIT_ARTIFACT_PASSWORD" ;;
esac
"""
"""Answers what Git asks, but not for other hosts, which redirects and submodules lead to."""


def checkout(location: Git, target: Path, outer: Mapping[str, str]) -> None:
    """Clones into ``target`` and checks the revision out."""
    target.mkdir(parents=True, exist_ok=True)
    with _environment(location, outer) as env:
        _git(env, "clone", *_clone_options(location), "--", _repo(location.repo), str(target))
        if location.fetch:
            _git(env, "fetch", *_depth(location), "origin", *location.fetch, cwd=target)
        if location.revision:
            _check_out(env, location, target)
        if not location.disable_submodules:
            options = ["--init", "--recursive", "--force", *_depth(location)]
            _git(env, "submodule", "update", *options, cwd=target)


def _clone_options(location: Git) -> list[str]:
    options = ["--quiet", *_depth(location)]
    if location.branch:
        options += ["--branch", location.branch]
    if location.single_branch:
        if not location.branch:
            raise ArtifactError("single branch mode without a branch specified")
        options.append("--single-branch")
    elif location.depth:
        options.append("--no-single-branch")
    return options


def _depth(location: Git) -> list[str]:
    return [f"--depth={location.depth}"] if location.depth else []


def _check_out(env: dict[str, str], location: Git, target: Path) -> None:
    """A branch of the origin, a tag or a commit; fetched first if a shallow clone lacks it."""
    for name in (f"refs/remotes/origin/{location.revision}", location.revision):
        found = _run(env, ["rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"], target)
        if found.returncode == 0:
            _git(env, "checkout", "--quiet", "--detach", found.stdout.strip(), cwd=target)
            return
    _git(env, "fetch", *_depth(location), "origin", location.revision, cwd=target)
    _git(env, "checkout", "--quiet", "--detach", "FETCH_HEAD", cwd=target)


@contextmanager
def _environment(location: Git, outer: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Git's environment: it asks nobody, and finds the secrets that the location names."""
    env = {**outer, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
    with tempfile.TemporaryDirectory(prefix="git-artifact-") as folder:
        if location.username_secret is not None or location.password_secret is not None:
            ask = Path(folder) / "ask"
            ask.write_text(_ASK)
            ask.chmod(0o700)
            env["GIT_ASKPASS"] = str(ask)
            env["GIT_ARTIFACT_HOST"] = urlsplit(location.repo).netloc.rpartition("@")[2]
            env["GIT_ARTIFACT_USER"] = secret_value(location.username_secret, outer)
            env["GIT_ARTIFACT_PASSWORD"] = secret_value(location.password_secret, outer)
        ssh = ["ssh", "-o", "BatchMode=yes"]
        if location.ssh_private_key_secret is not None:
            key = Path(folder) / "key"
            key.touch(0o600)
            key.write_text(secret_value(location.ssh_private_key_secret, outer).rstrip("\n") + "\n")
            ssh += ["-i", str(key), "-o", "IdentitiesOnly=yes"]
        if location.insecure_ignore_host_key:
            ssh += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        env["GIT_SSH_COMMAND"] = shlex.join(ssh)
        if location.insecure_skip_tls:
            env["GIT_SSL_NO_VERIFY"] = "true"
        yield env


def _repo(repo: str) -> str:
    """The address with what may not stand in an address escaped in its user's part."""
    parts = urlsplit(repo)
    if "@" not in parts.netloc:
        return repo
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe=':%')}@{host}"))


def _git(env: dict[str, str], command: str, *arguments: str, cwd: Path | None = None) -> None:
    done = _run(env, [command, *arguments], cwd)
    if done.returncode == 0:
        return
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    why = next((line for line in lines if line.startswith(("fatal:", "error:"))), "")
    message = f"git {command}: {why or (lines[-1] if lines else f'exit code {done.returncode}')}"
    missing = "not found" in message or "couldn't find remote ref" in message
    raise (ArtifactNotFound if missing else ArtifactError)(message)


def _run(
    env: dict[str, str], arguments: list[str], cwd: Path | None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise ArtifactError("there is no git command on this machine; install git") from None
