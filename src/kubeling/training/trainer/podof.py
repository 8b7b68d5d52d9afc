"""Prints the name of the pod that has a host name: ``podof.py HOST``.

``mpirun`` knows the nodes of a TrainJob by host names, because the names of a Job's pods end in
anything; the API starts commands in pods by name. Like :mod:`kubeling.training.podexec` this runs
in the launcher, on whatever Python its image has. It waits for the pod to be there.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
WAIT_SECONDS = 600.0


def pods() -> dict[str, str]:
    """The names of the job's pods that have not ended, by their host names."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    where = (ACCOUNT / "namespace").read_text().strip()
    query = urllib.parse.urlencode({"labelSelector": os.environ["KUBELING_MPI_SELECTOR"]})
    url = f"https://{host}:{port}/api/v1/namespaces/{where}/pods?{query}"
    token = (ACCOUNT / "token").read_text().strip()
    request = urllib.request.Request(url, headers={"Authorization": "Bearer " + token})
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=30, context=trusted) as answer:
        found = json.load(answer)["items"]
    return {
        pod["spec"].get("hostname", ""): pod["metadata"]["name"]
        for pod in found
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    }


def main() -> int:
    host = sys.argv[1].partition(".")[0]
    deadline, pause = time.monotonic() + WAIT_SECONDS, 0.05
    why = f"there is no pod of host {host}"
    while time.monotonic() < deadline:
        try:
            name = pods().get(host)
        except urllib.error.HTTPError as error:
            why = f"the API refused: {error}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = f"the API cannot be reached: {error}"
        else:
            if name:
                print(name)
                return 0
            why = f"there is no pod of host {host}"
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)
    print(f"podof: {why}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
