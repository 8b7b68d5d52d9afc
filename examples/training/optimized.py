"""One trial of an OptimizationJob: takes its parameter, reports its loss."""

import json
import os
import time
import urllib.request
from pathlib import Path


def main() -> None:
    x = float(os.environ["KUBEFLOW_TRAINER_OPT_X"])
    loss = (x - 0.5) ** 2
    status = {
        "metrics": [{"name": "loss", "value": f"{loss:.6f}"}],
        "lastUpdatedTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    token = Path(os.environ["KUBEFLOW_TRAINER_SERVER_TOKEN"]).read_text()
    request = urllib.request.Request(
        os.environ["KUBEFLOW_TRAINER_SERVER_URL"],
        json.dumps({"trainerStatus": status}).encode(),
        {"Authorization": f"Bearer {token}"},
    )
    urllib.request.urlopen(request, timeout=5).close()
    print(f"x={x:.3f} loss={loss:.6f}", flush=True)


if __name__ == "__main__":
    main()
