"""The drift check as a command, for a pipeline step, a Job or a terminal.

``python -m kubeling.serving.drift --reference ref.json --log LOG`` compares; with ``--profile
DATA.csv`` it makes the reference, and keeps it in a file, in the folder of a model, or at
``model-registry://MODEL/VERSION`` (MODEL_REGISTRY_BASE_URL says where the registry is). Exit codes
are diff's: 0 no drift, 1 drift, 2 trouble.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from kubeling.artifacts.errors import ArtifactError
from kubeling.serving.drift.keeping import keep_profile
from kubeling.serving.drift.profile import Profile, profile_of
from kubeling.serving.drift.records import lines_of, table_of
from kubeling.serving.drift.report import Thresholds, compare

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    options = _parser().parse_args(arguments)
    try:
        if options.profile:
            found = _profile(Path(options.profile), options.target or "")
            if options.reference in ("", "-"):
                _write("-", found)
            else:
                keep_profile(found, options.reference)
            return 0
        return _check(options)
    except (OSError, ValueError, ArtifactError, msgspec.MsgspecError) as error:
        print(f"drift: {error}", file=sys.stderr)
        return 2


def _check(options: argparse.Namespace) -> int:
    if not options.log:
        raise ValueError("nothing to check; name a log with --log")
    reference = _reference(Path(options.reference))
    lines = (line for where in options.log for line in lines_of(where))
    rows, predictions = table_of(lines)
    limits = Thresholds(options.psi, options.p_value)
    report = compare(reference, rows, predictions, limits)
    _write(options.output, report)
    for title in report.get("drifted", ()):
        found = report["features"][title]
        print(f"drift: {title} (PSI {found.get('psi', 'n/a')})", file=sys.stderr)
    return 1 if report["drift"] and not options.exit_zero else 0


def _reference(path: Path) -> Profile:
    """A profile as it was saved, or one made now from the data itself."""
    if path.suffix in (".csv", ".npy"):
        return _profile(path, "")
    return msgspec.json.decode(path.read_bytes(), type=Profile)


def _profile(path: Path, target: str) -> Profile:
    names: list[str] = []
    if path.suffix == ".npy":
        rows = np.load(path, allow_pickle=False)
    else:
        with path.open(newline="") as file:
            names, *lines = list(csv.reader(file))
        rows = np.asarray(lines)
    if not target:
        return profile_of(rows, names)
    if target not in names:
        raise ValueError(f'{path} has no column "{target}"; it has {", ".join(names)}')
    column = names.index(target)
    predictions = rows[:, column]
    names.pop(column)
    return profile_of(np.delete(rows, column, axis=1), names, predictions)


def _write(where: str, value: Any) -> None:
    text = msgspec.json.format(msgspec.json.encode(value)) + b"\n"
    if where in ("", "-"):
        sys.stdout.write(text.decode())
        return
    path = Path(where)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="drift", description=__doc__)
    parser.add_argument(
        "--reference",
        required=True,
        help="the reference profile (.json), or the data itself (.csv, .npy); with --profile, "
        "where the profile is kept: a file, the model's folder, or model-registry://MODEL/VERSION",
    )
    parser.add_argument("--log", action="append", help="file, folder or URL; may be repeated")
    parser.add_argument("--output", default="-", help="where the report goes")
    parser.add_argument("--psi", type=float, default=0.2, help="smallest index that is drift")
    parser.add_argument("--p-value", type=float, default=0.01, help="largest chance of it")
    parser.add_argument("--exit-zero", action="store_true", help="do not fail on drift")
    parser.add_argument("--profile", help="make the reference from this .csv or .npy instead")
    parser.add_argument("--target", help="the column of the .csv that holds the predictions")
    return parser


if __name__ == "__main__":
    sys.exit(main())
