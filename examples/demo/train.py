"""One worker of a distributed training job: all workers together train ONE model.

Every worker reads its share of the rows; XGBoost's collective adds their gradient statistics up at
each split, so the model is the one that a single process would find on all rows. The worker with
rank 0 runs the tracker and saves the model.

Usage: train.py MODEL_FOLDER [--max-depth N] [--learning-rate X] [--rounds N] [--data FOLDER]
"""

import argparse
import os
import socket
import time
from pathlib import Path

import numpy as np
import xgboost as xgb
from xgboost import collective
from xgboost.tracker import RabitTracker

RANK = int(os.environ.get("RANK", "0"))
WORLD_SIZE = int(os.environ.get("WORLD_SIZE", "1"))
MASTER = os.environ.get("MASTER_ADDR", "localhost")
PORT = int(os.environ.get("MASTER_PORT", "9999"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", default="data")
    parser.add_argument("--max-depth", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    tracker = start_tracker() if RANK == 0 else None
    if tracker is None:
        wait_for_tracker()
    with collective.CommunicatorContext(
        dmlc_tracker_uri=socket.gethostbyname(MASTER),
        dmlc_tracker_port=PORT,
        dmlc_task_id=str(RANK),
        dmlc_retry=30,
    ):
        booster = train(options)
        if collective.get_rank() == 0:
            save(booster, options.model)
    if tracker:
        tracker.wait_for()


def start_tracker() -> RabitTracker:
    tracker = RabitTracker(WORLD_SIZE, socket.gethostbyname(MASTER), PORT, sortby="task")
    tracker.start()
    return tracker


def wait_for_tracker(seconds: float = 60) -> None:
    """The pods start at the same time, and XGBoost waits 6 s after a first refusal.

    The tracker logs that it was only looked for ("Failed to initialize worker proxy").
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((MASTER, PORT), 5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def train(options: argparse.Namespace) -> xgb.Booster:
    rows = np.loadtxt(f"{options.data}/train.csv", delimiter=",", skiprows=1)
    mine = rows[RANK::WORLD_SIZE]
    print(f"worker {RANK} of {WORLD_SIZE}: {len(mine)} of {len(rows)} rows", flush=True)
    return xgb.train(
        {
            "objective": "binary:logistic",
            "tree_method": "hist",
            "max_depth": options.max_depth,
            "learning_rate": options.learning_rate,
            "nthread": 1,
            "seed": 7,
        },
        xgb.DMatrix(mine[:, 1:], mine[:, 0]),
        num_boost_round=options.rounds,
    )


def save(booster: xgb.Booster, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    booster.save_model(folder / "model.ubj")
    print(f"saved {folder / 'model.ubj'}", flush=True)


if __name__ == "__main__":
    main()
