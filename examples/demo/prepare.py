"""Splits scikit-learn's breast cancer data into train, validation and held-out rows.

Usage: prepare.py FOLDER [SUMMARY]

FOLDER gets train.csv, validation.csv and holdout.csv (label first, with a header), and
reference.csv, the training rows without labels, against which drift is measured. SUMMARY, if named,
gets the counts as JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

SEED = 7


def main(folder: Path, summary: Path | None) -> None:
    data = load_breast_cancer()
    names = [name.replace(" ", "_") for name in data.feature_names]
    rest, holdout = train_test_split(
        np.column_stack([data.target, data.data]),
        test_size=0.25,
        random_state=SEED,
        stratify=data.target,
    )
    train, validation = train_test_split(
        rest, test_size=0.25, random_state=SEED, stratify=rest[:, 0]
    )
    folder.mkdir(parents=True, exist_ok=True)
    header = ",".join(["label", *names])
    parts = {"train": train, "validation": validation, "holdout": holdout}
    for name, rows in parts.items():
        np.savetxt(
            folder / f"{name}.csv", rows, delimiter=",", header=header, comments="", fmt="%.6g"
        )
    reference = folder / "reference.csv"
    np.savetxt(
        reference, train[:, 1:], delimiter=",", header=",".join(names), comments="", fmt="%.6g"
    )
    counts = {name: len(rows) for name, rows in parts.items()}
    print(f"rows: {counts}, features: {len(names)}")
    if summary:
        summary.parent.mkdir(parents=True, exist_ok=True)
        summary.write_text(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
