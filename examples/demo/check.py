"""Fails unless every part of the data has rows of both classes.

Usage: check.py FOLDER ROWS SHARE

ROWS are the expected counts as JSON; SHARE is the file that gets the share of positive labels.
"""

import json
import sys
from pathlib import Path

import numpy as np


def main(folder: Path, expected: dict[str, int], share: Path) -> None:
    labels = []
    for name, count in expected.items():
        rows = np.loadtxt(folder / f"{name}.csv", delimiter=",", skiprows=1)
        found = set(rows[:, 0].astype(int).tolist())
        if len(rows) != count or found != {0, 1}:
            sys.exit(f"{name}: {len(rows)} rows with labels {sorted(found)}, expected {count}")
        labels.append(rows[:, 0])
    positive = float(np.concatenate(labels).mean())
    print(f"share of positive labels: {positive:.3f}")
    share.parent.mkdir(parents=True, exist_ok=True)
    share.write_text(str(positive))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3]))
