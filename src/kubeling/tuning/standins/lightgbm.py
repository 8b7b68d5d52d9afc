"""The distributed LightGBM of ``kubeflow/katib/xgboost-lightgbm``, on data that scikit-learn makes.

Flags are LightGBM's parameters, as the image takes them; the lines are LightGBM's own command's.
Where the pods of the job have addresses of their own they train together over LightGBM's sockets.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import Any, Final

import lightgbm
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

_FILES: Final = ("job_type", "data", "valid_data", "is_save_binary_file", "use_two_round_loading")
_PATIENCE: Final = 60.0


def main() -> None:
    """Trains, and prints every metric of every iteration."""
    words = [word.removeprefix("--").partition("=") for word in sys.argv[1:]]
    given: dict[str, Any] = {name: value for name, _, value in words if name not in _FILES}
    trees = int(given.pop("num_trees", 100))
    # As many rows and columns as the image's data, of which nobody knows the meaning either.
    features, labels = make_classification(7000, 28, n_informative=8, random_state=0)
    train, test, right, answers = train_test_split(features, labels, random_state=0)
    machines = _machines()
    together = machines.get("num_machines", 1)
    # Each has a part of the data, and learns from all of it.
    share = slice(int(os.environ.get("RANK", "0")) if together > 1 else 0, None, together)
    data = lightgbm.Dataset(train[share], right[share])
    lightgbm.train(
        {**given, **machines, "verbosity": -1, "num_threads": 1},
        data,
        num_boost_round=trees,
        valid_sets=[data, lightgbm.Dataset(test, answers, reference=data)],
        valid_names=["training", "valid_1"],
        callbacks=[_printed],
    )


def _printed(environment: Any) -> None:
    for name, metric, value, *_ in environment.evaluation_result_list or ():
        text = f"Iteration:{environment.iteration + 1}, {name} {metric} : {value:.6f}"
        print(f"[LightGBM] [Info] {text}", flush=True)


def _machines() -> dict[str, Any]:
    """The others of the job, by the environment that an XGBoostJob gives."""
    names = [os.environ.get("MASTER_ADDR", ""), *os.environ.get("WORKER_ADDRS", "").split(",")]
    names = [name for name in names if name]
    if len(names) < 2:
        return {"tree_learner": "serial"}
    addresses = [_address(name) for name in names]
    if len(set(addresses)) < len(names):
        return {"tree_learner": "serial"}
    port = int(os.environ.get("MASTER_PORT", "9991"))
    # LightGBM's feature parallel learner, which the example asks for, is its command's only.
    return {
        "tree_learner": "data",
        "machines": ",".join(f"{address}:{port}" for address in addresses),
        "num_machines": len(addresses),
        "local_listen_port": port,
    }


def _address(name: str) -> str:
    """The address of a pod, which may not have one yet."""
    last = time.monotonic() + _PATIENCE
    while True:
        try:
            return socket.gethostbyname(name)
        except OSError:
            if time.monotonic() > last:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    main()
