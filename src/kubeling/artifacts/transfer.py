"""Moves artifacts between a pod and the places they lie in: the work of two small containers.

The *loader* runs before a step and puts its inputs into a folder that both see. The *keeper* runs
beside it: the step leaves its outputs in the folder, names them in ``offered`` and opens ``wake``;
the keeper stores them and writes ``answered``, which is empty if all went well. Everything said is
a file, so either may be killed and started again: what was not answered is done again.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from kubeling.artifacts.drivers import Driver, driver_of
from kubeling.artifacts.errors import ArtifactDenied, ArtifactError, ArtifactNotFound
from kubeling.artifacts.packing import pack, unpack
from kubeling.artifacts.patience import patience_of, patiently
from kubeling.artifacts.plan import Transfer

__all__ = ["ANSWERED", "OFFERED", "WAKE", "delete", "keep", "load"]

OFFERED: Final = "offered"
ANSWERED: Final = "answered"
WAKE: Final = "wake"


def load(transfers: Sequence[Transfer], folder: Path, env: Mapping[str, str]) -> None:
    """Puts every artifact into ``folder``; raises :class:`ArtifactError` naming the artifact."""
    for transfer in transfers:
        # What a killed loader left is not to be mixed with what is there now.
        target = folder / transfer.name
        found = target.with_name(f".{target.name}.loading")
        _remove(found)
        _remove(target)
        try:
            patiently(partial(_load, transfer, found, env), patience_of(env))
            unpack(found, target, transfer.packing)
        except ArtifactNotFound as error:
            if not transfer.optional:
                raise ArtifactError(f"input artifact {transfer.name}: {error}") from None
        except ArtifactError as error:
            raise ArtifactError(f"input artifact {transfer.name}: {_advised(error)}") from None
        finally:
            _remove(found)


def _load(transfer: Transfer, target: Path, env: Mapping[str, str]) -> None:
    _remove(target)  # what came before the store went away
    driver_of(transfer.location, env).load(target)


def keep(transfers: Sequence[Transfer], folder: Path, env: Mapping[str, str]) -> None:
    """Waits for the step's outputs and stores them; returns when that is done."""
    if (folder / ANSWERED).exists():
        return
    with contextlib.suppress(FileExistsError):
        os.mkfifo(folder / WAKE)
    # Held open, so that the step never waits at the other end while this runs.
    end = os.open(folder / WAKE, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while not (folder / OFFERED).exists():
            select.select([end], [], [])
            os.read(end, 1)
        _answer(transfers, folder, env)
    finally:
        os.close(end)


def _answer(transfers: Sequence[Transfer], folder: Path, env: Mapping[str, str]) -> None:
    offered = set((folder / OFFERED).read_text().splitlines())
    problems = [_kept(t, folder / t.name, env) for t in transfers if t.name in offered]
    answer = folder / f".{ANSWERED}"
    answer.write_text("\n".join(problem for problem in problems if problem))
    answer.rename(folder / ANSWERED)


def _kept(transfer: Transfer, source: Path, env: Mapping[str, str]) -> str:
    """Stores one output; what went wrong, or nothing."""
    try:
        driver = driver_of(transfer.location, env)
        if transfer.packing == "none":
            patiently(partial(_save_plain, driver, source), patience_of(env))
        else:
            with tempfile.TemporaryDirectory(dir=source.parent) as scratch:
                packed = Path(scratch) / "packed"
                pack(source, packed, transfer.packing, transfer.level)
                patiently(partial(driver.save, packed), patience_of(env))
    except ArtifactError as error:
        return f"output artifact {transfer.name}: {_advised(error)}"
    except OSError as error:
        return f"output artifact {transfer.name}: {error.strerror or error}"
    return ""


def _save_plain(driver: Driver, source: Path) -> None:
    if source.is_dir() and not driver.folders:
        raise ArtifactError(
            "a folder cannot be stored there unless it is packed; leave archive out"
        )
    driver.save(source)


def delete(transfers: Sequence[Transfer], env: Mapping[str, str]) -> dict[str, str]:
    """Deletes artifacts; what went wrong, by name, with nothing for what is gone."""
    found: dict[str, str] = {}
    for transfer in transfers:
        try:
            patiently(driver_of(transfer.location, env).delete, patience_of(env))
            found[transfer.name] = ""
        except ArtifactError as error:
            found[transfer.name] = _advised(error)
    return found


def _advised(error: ArtifactError) -> str:
    denied = isinstance(error, ArtifactDenied)
    return f"{error}; check the secrets that its location names" if denied else str(error)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
