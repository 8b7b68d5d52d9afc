"""Uploads and runs compiled pipelines with the kfp SDK; runs in the SDK's own environment.

Takes a JSON list of jobs on standard input (``name``, ``file``, ``parameters``, ``timeout``) and
prints one JSON object per job, as each ends. A file that is refused at upload ends in ``REFUSED``.
"""

import concurrent.futures
import json
import random
import sys
import threading
import time
import uuid
import warnings

warnings.simplefilter("ignore")

import kfp_server_api  # noqa: E402
import yaml  # noqa: E402
from kfp import Client  # noqa: E402

BY_TYPE = {
    "NUMBER_INTEGER": lambda: random.randrange(1000),
    "NUMBER_DOUBLE": random.random,
    "BOOLEAN": lambda: True,
    "STRUCT": lambda: {"A": str(random.random()), "B": str(random.random())},
    "LIST": lambda: [uuid.uuid4().hex],
}
ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")


def inputs_of(file: str) -> dict:
    """A value for every input without a default, by type, as upstream's own tests give them."""
    with open(file) as stream:
        spec = next(yaml.safe_load_all(stream))
    declared = (spec["root"].get("inputDefinitions") or {}).get("parameters") or {}
    return {
        name: BY_TYPE.get(entry.get("parameterType"), lambda: uuid.uuid4().hex[:20])()
        for name, entry in declared.items()
        if "defaultValue" not in entry and not entry.get("isOptional")
    }


def run(client: Client, experiment: str, job: dict) -> dict:
    name = f"{job['name']}-{uuid.uuid4().hex[:8]}"
    try:
        pipeline = client.upload_pipeline(job["file"], pipeline_name=name)
    except (kfp_server_api.ApiException, ValueError) as error:
        return {"state": "REFUSED", "error": _message(error)}
    versions = client.list_pipeline_versions(pipeline.pipeline_id).pipeline_versions
    created = client.run_pipeline(
        experiment,
        name,
        pipeline_id=pipeline.pipeline_id,
        version_id=versions[0].pipeline_version_id,
        params={**inputs_of(job["file"]), **job["parameters"]},
    )
    deadline = time.monotonic() + job["timeout"]
    while True:
        found = client.get_run(created.run_id)
        if found.state in ENDED:
            break
        if time.monotonic() > deadline:
            client.terminate_run(created.run_id)
            return {
                "state": found.state,
                "error": f"no end after {job['timeout']} s",
                **_ids(found),
            }
        time.sleep(1)
    error = found.error.message if found.error else ""
    return {"state": found.state, "error": error, **_ids(found)}


def _ids(run: object) -> dict:
    details = run.run_details.task_details if run.run_details else None
    return {"run_id": run.run_id, "tasks": len(details or [])}


def _message(error: Exception) -> str:
    try:
        return json.loads(error.body)["error_message"]
    except (AttributeError, TypeError, ValueError, KeyError):
        return str(error)


def main() -> None:
    request = json.load(sys.stdin)
    results, sys.stdout = sys.stdout, sys.stderr  # the SDK prints, too
    client = Client()
    experiment = client.create_experiment("conformance").experiment_id
    printing = threading.Lock()

    def one(job: dict) -> None:
        begun = time.monotonic()
        try:
            result = run(Client(), experiment, job)
        except Exception as error:  # whatever it is, it is this job's outcome
            result = {"state": "ERROR", "error": _message(error)}
        seconds = round(time.monotonic() - begun, 1)
        with printing:
            print(json.dumps({**job, "seconds": seconds, **result}), file=results, flush=True)

    with concurrent.futures.ThreadPoolExecutor(request["parallel"]) as pool:
        list(pool.map(one, request["jobs"]))


if __name__ == "__main__":
    main()
