"""Trains ten epochs with a checkpoint after each; the first attempt crashes half way."""

import json
import os
import sys
import time
import urllib.request
from pathlib import Path

CHECKPOINT = Path("/checkpoints/state.json")
EPOCHS = 10


def report(epoch: int, loss: float) -> None:
    """What the SDK's ``update_trainjob_status`` sends, without the SDK."""
    status = {
        "progressPercentage": 100 * epoch // EPOCHS,
        "metrics": [{"name": "loss", "value": f"{loss:.4f}"}],
        "lastUpdatedTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    token = Path(os.environ["KUBEFLOW_TRAINER_SERVER_TOKEN"]).read_text()
    request = urllib.request.Request(
        os.environ["KUBEFLOW_TRAINER_SERVER_URL"],
        json.dumps({"trainerStatus": status}).encode(),
        {"Authorization": f"Bearer {token}"},
    )
    urllib.request.urlopen(request, timeout=5).close()


def main() -> None:
    state = json.loads(CHECKPOINT.read_text()) if CHECKPOINT.exists() else {"epoch": 0, "x": 4.0}
    resumed = state["epoch"] > 0
    print(f"starting after epoch {state['epoch']}", flush=True)
    while state["epoch"] < EPOCHS:
        state = {"epoch": state["epoch"] + 1, "x": 0.8 * state["x"]}
        CHECKPOINT.write_text(json.dumps(state))
        report(state["epoch"], state["x"] ** 2)
        if state["epoch"] == EPOCHS // 2 and not resumed:
            sys.exit("out of memory, or so")
    print(f"loss={state['x'] ** 2:.4f}", flush=True)


if __name__ == "__main__":
    main()
