"""Trains one XGBoost model in several processes, each of which sees only its share of the rows.

Runs as it is in every replica of an XGBoostJob: the operator says who is who in the environment,
the master also runs the tracker through which the processes find each other.
"""

import hashlib
import os
import socket
import time

import xgboost
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from xgboost import collective
from xgboost.tracker import RabitTracker

RANK = int(os.environ["RANK"])
WORLD_SIZE = int(os.environ["WORLD_SIZE"])
MASTER = os.environ["MASTER_ADDR"]
PORT = int(os.environ["MASTER_PORT"])


def address_of(host: str, port: int = 0, seconds: float = 60) -> str:
    """The host's address, once its name is known and somebody listens at the port, if one is given.

    The pods start at the same time, and XGBoost waits 6 s after a first refusal. The tracker logs
    that it was only looked for ("Failed to initialize worker proxy").
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if port:
                socket.create_connection((host, port), 5).close()
            return socket.gethostbyname(host)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def main() -> None:
    tracker = None
    if RANK == 0:
        address = address_of(MASTER)
        tracker = RabitTracker(WORLD_SIZE, host_ip=address, port=PORT, sortby="task", timeout=120)
        tracker.start()
    else:
        address = address_of(MASTER, PORT)
    with collective.CommunicatorContext(
        dmlc_tracker_uri=address, dmlc_tracker_port=PORT, dmlc_task_id=str(RANK), dmlc_retry=30
    ):
        train()
    if tracker is not None:
        tracker.wait_for()


def train() -> None:
    data = load_breast_cancer()
    train_x, test_x, train_y, test_y = train_test_split(
        data.data, data.target, test_size=0.2, random_state=0, stratify=data.target
    )
    mine = slice(RANK, None, WORLD_SIZE)
    rows = xgboost.DMatrix(train_x[mine], train_y[mine])
    held_out = xgboost.DMatrix(test_x, test_y)
    parameters = {
        "objective": "binary:logistic",
        "max_depth": int(os.environ.get("MAX_DEPTH", "4")),
        "eta": float(os.environ.get("ETA", "0.3")),
        "nthread": 1,
    }
    model = xgboost.train(parameters, rows, num_boost_round=20)
    accuracy = float(((model.predict(held_out) > 0.5) == test_y).mean())
    print(f"rank {collective.get_rank()} of {collective.get_world_size()}: {rows.num_row()} rows")
    print(f"model={hash_of(model)}")
    print(f"accuracy={accuracy:.4f}", flush=True)
    if collective.get_rank() == 0 and (path := os.environ.get("MODEL_PATH")):
        model.save_model(path)


def hash_of(model: xgboost.Booster) -> str:
    """The same in every process if, and only if, they trained the same model."""
    return hashlib.sha256(bytes(model.save_raw("json"))).hexdigest()[:16]


if __name__ == "__main__":
    main()
