"""The main job's stages, in order. Each drives the platform as a user's script would."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import aiohttp

from kubeling.cli.demo_run.link import StageFailed
from kubeling.cli.demo_run.session import NAMESPACE, Session, check
from kubeling.kube.objects import Obj, is_condition_true, uid
from kubeling.kube.resources import JOBS, Resource

__all__ = ["STAGES", "Stage"]

RUNS: Final = Resource("pipelines.kubeflow.org", "v2beta1", "Run", "runs")
PIPELINE: Final = "prepare-breast-cancer"
MODEL: Final = "breast-cancer"
MIN_ACCURACY: Final = 0.9
CANARY_PERCENT: Final = 10
CANARY_REQUESTS: Final = 600
CANARY_TOLERANCE: Final = 5.0
_PREDICT: Final = f"/serving/{NAMESPACE}/{MODEL}/v1/models/{MODEL}:predict"


class Stage(NamedTuple):
    """One stage; ``run`` returns one line on what came of it."""

    name: str
    title: str
    run: Callable[[Session], Awaitable[str]]


async def prepare(session: Session) -> str:
    """Uploads the pipeline as kfp does, runs it, waits."""
    run = await _start_pipeline(session)
    name = run["metadata"]["name"]

    def ended(obj: Obj | None) -> bool:
        status = (obj or {}).get("status") or {}
        session.say(f"{status.get('state', 'PENDING').lower()}, {status.get('tasks', 'no')} tasks")
        return obj is None or status.get("state") in ("SUCCEEDED", "FAILED", "CANCELED")

    done = await session.until(RUNS, name, ended, 300)
    status = (done or {}).get("status") or {}
    if status.get("state") != "SUCCEEDED":
        said = f"the pipeline ended {status.get('state', 'DELETED')}: {status.get('message', '')}"
        raise StageFailed(said, f"kubeling why runs/{name}")
    session.facts["run_id"] = uid(run)
    counts = {part: len(_rows(session, part)) for part in ("train", "validation", "holdout")}
    return ", ".join(f"{count} {part}" for part, count in counts.items()) + " rows"


async def _start_pipeline(session: Session) -> Obj:
    """A new run, made once: a run's name, like those kfp gives, tells it from all others."""
    pipeline_id = await session.link.lasting(lambda: _pipeline(session))
    title = f"{PIPELINE} {dt.datetime.now(dt.UTC):%Y-%m-%d %H-%M-%S-%f}"
    body = {
        "display_name": title,
        "pipeline_version_reference": {"pipeline_id": pipeline_id},
        "runtime_config": {"parameters": {"folder": "data"}},
    }

    async def start() -> Obj:
        while True:
            runs = await session.client.list(RUNS, NAMESPACE)
            for run in runs.items:
                if run["spec"].get("displayName") == title:
                    return run
            await session.post("/apis/v2beta1/runs", body)

    return await session.link.lasting(start)


async def _pipeline(session: Session) -> str:
    """The id of the uploaded pipeline."""
    listed = await session.get("/apis/v2beta1/pipelines", page_size="200")
    known = [p for p in listed.get("pipelines") or () if p["display_name"] == PIPELINE]
    if known:
        return str(known[0]["pipeline_id"])
    form = aiohttp.FormData()
    content = (session.workspace / "pipeline.yaml").read_bytes()
    form.add_field("uploadfile", content, filename="pipeline.yaml")
    upload = f"{session.url}/apis/v2beta1/pipelines/upload"
    async with session.http.post(upload, params={"name": PIPELINE}, data=form) as answer:
        await check(answer)
        return str((await answer.json())["pipeline_id"])


async def tune(session: Session) -> str:
    """Applies the Experiment and waits for its best trial."""
    experiment = session.manifest("experiment.yaml")
    resource = await session.renew(experiment)
    wanted = experiment["spec"]["maxTrialCount"]

    def finished(obj: Obj | None) -> bool:
        status = (obj or {}).get("status") or {}
        session.say(f"{status.get('trialsSucceeded', 0)} of {wanted} trials")
        return obj is not None and any(
            is_condition_true(obj, kind) for kind in ("Succeeded", "Failed")
        )

    done = await session.until(resource, MODEL, finished, 300)
    assert done is not None
    if not is_condition_true(done, "Succeeded"):
        raise StageFailed("the experiment failed", f"kubeling why experiments/{MODEL}")
    best = done["status"]["currentOptimalTrial"]
    parameters = {p["name"]: p["value"] for p in best["parameterAssignments"]}
    metrics = {m["name"]: m["latest"] for m in best["observation"]["metrics"]}
    session.facts |= {
        "best_parameters": parameters,
        "best_loss": float(metrics["loss"]),
        "trials": done["status"]["trialsSucceeded"],
    }
    shown = ", ".join(f"{key} {float(value):.3g}" for key, value in parameters.items())
    return (
        f"{done['status']['trialsSucceeded']} trials; loss {float(metrics['loss']):.4f} at {shown}"
    )


async def train(session: Session) -> str:
    """Trains the best parameters on two workers, and a challenger with more rounds."""
    best = {key: str(value) for key, value in session.facts["best_parameters"].items()}
    await _train(session, "v1", best)
    challenger = {**best, "rounds": str(int(float(best["rounds"]) * 1.5))}
    await _train(session, "v2", challenger)
    return f"v1 with {best['rounds']} rounds, v2 with {challenger['rounds']}; 2 workers each"


async def _train(session: Session, version: str, parameters: dict[str, str]) -> None:
    job = session.manifest("xgboostjob.yaml")
    name = job["metadata"]["name"] = f"{MODEL}-{version}"
    for replica in job["spec"]["xgbReplicaSpecs"].values():
        container = replica["template"]["spec"]["containers"][0]
        container["command"][-1] = f"models/{version}"
        container["args"] = [f"--{key}={value}" for key, value in parameters.items()]
    resource = await session.renew(job)

    def finished(obj: Obj | None) -> bool:
        counts = ((obj or {}).get("status") or {}).get("replicaStatuses") or {}
        active = sum(int(c.get("active") or 0) for c in counts.values())
        session.say(f"{version}: {active} workers")
        return obj is not None and any(
            is_condition_true(obj, kind) for kind in ("Succeeded", "Failed")
        )

    done = await session.until(resource, name, finished, 180)
    if done is None or not is_condition_true(done, "Succeeded"):
        raise StageFailed(f"the training job {name} failed", f"kubeling why xgboostjobs/{name}")


async def register(session: Session) -> str:
    """Registers both versions."""
    for version in ("v1", "v2"):
        loss = f"validation-loss={session.facts['best_loss']:.4f}"
        await session.script("register.py", MODEL, version, f"models/{version}", loss)
    return f"{MODEL} v1 and v2"


async def serve(session: Session) -> str:
    """Deploys the first version and measures it on the held-out rows, through the service."""
    await _apply(session, "inferenceservice.yaml")
    rows = _rows(session, "holdout")
    answers = await _predict(session, [row[1:] for row in rows])
    right = sum((p > 0.5) == (row[0] == 1.0) for (p, _), row in zip(answers, rows, strict=True))
    accuracy = right / len(rows)
    session.facts["accuracy"] = accuracy
    if accuracy < MIN_ACCURACY:
        raise StageFailed(f"held-out accuracy {accuracy:.3f} is below {MIN_ACCURACY}")
    return f"accuracy {accuracy:.3f} on {len(rows)} held-out rows"


async def canary(session: Session) -> str:
    """Sends a second version out and counts who answers."""
    await _apply(session, "inferenceservice-canary.yaml")
    rows = [row[1:] for row in _rows(session, "holdout")]
    asked = [rows[i % len(rows)] for i in range(CANARY_REQUESTS)]
    counts = Counter(revision for _, revision in await _predict(session, asked))
    session.facts["traffic"] = dict(counts)
    newest = max(counts)
    share = 100 * counts[newest] / len(asked)
    session.facts["canary_percent"] = share
    if len(counts) != 2 or abs(share - CANARY_PERCENT) > CANARY_TOLERANCE:
        raise StageFailed(f"the traffic split is {dict(counts)}, not {CANARY_PERCENT}% to the new")
    return ", ".join(f"{count} by {revision}" for revision, count in sorted(counts.items()))


async def monitor(session: Session) -> str:
    """Compares the recorded requests with the training data, in a Job."""
    job = session.manifest("drift-check.yaml")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    path = f"v1/models/{MODEL}/requests"
    revisions = sorted(session.facts["traffic"])
    container["args"] = [f"--log=http://{revision}/{path}" for revision in revisions]
    await session.renew(job)
    name = job["metadata"]["name"]
    ended = ("Complete", "Failed")
    done = await session.until(
        JOBS, name, lambda o: o is not None and any(is_condition_true(o, k) for k in ended), 120
    )
    if done is None or not is_condition_true(done, "Complete"):
        raise StageFailed("the drift check failed", f"kubeling why jobs/{name}")
    import msgspec

    report = msgspec.json.decode((session.workspace / "drift-report.json").read_bytes())
    session.facts["drift"] = bool(report["drift"])
    drifted = report.get("drifted") or []
    return f"{report['rows']} recorded rows against {len(report['features'])} features: " + (
        f"drift in {', '.join(drifted)}" if drifted else "no drift"
    )


async def _apply(session: Session, file: str) -> None:
    """Applies the service and waits until all its traffic goes to ready revisions."""
    isvc = session.manifest(file)
    resource = await session.apply(isvc)
    wanted = isvc["spec"]["predictor"].get("canaryTrafficPercent")

    def ready(obj: Obj | None) -> bool:
        status = (obj or {}).get("status") or {}
        session.say("waiting until it is ready")
        if obj is None or status.get("observedGeneration") != obj["metadata"]["generation"]:
            return False
        traffic = ((status.get("components") or {}).get("predictor") or {}).get("traffic") or []
        latest = [t.get("percent") for t in traffic if t.get("latestRevision")]
        return is_condition_true(obj, "Ready") and (wanted is None or latest == [wanted])

    await session.until(resource, MODEL, ready, 180)


async def _predict(session: Session, rows: list[list[float]]) -> list[tuple[float, str]]:
    """``(prediction, revision)`` for each row, one request a row, eight at a time."""
    gate = asyncio.Semaphore(8)
    done = 0

    async def ask(row: list[float]) -> tuple[float, str]:
        async with session.http.post(session.url + _PREDICT, json={"instances": [row]}) as answer:
            await check(answer)
            body: Any = await answer.json(content_type=None)
            return float(body["predictions"][0]), answer.headers.get("x-kubeling-revision", "")

    async def one(row: list[float]) -> tuple[float, str]:
        nonlocal done
        async with gate:
            found = await session.link.lasting(lambda: ask(row))
        done += 1
        session.say(f"{done} of {len(rows)} requests")
        return found

    return list(await asyncio.gather(*(one(row) for row in rows)))


def _rows(session: Session, part: str) -> list[list[float]]:
    with (session.workspace / "data" / f"{part}.csv").open(newline="") as file:
        _, *lines = csv.reader(file)
    return [[float(value) for value in line] for line in lines]


STAGES: Final = (
    Stage("prepare", "Prepare the data with a pipeline", prepare),
    Stage("tune", "Tune with parallel trials", tune),
    Stage("train", "Train the best on two workers", train),
    Stage("register", "Register the versions", register),
    Stage("serve", "Serve the first version", serve),
    Stage("canary", "Send the second out as a 10% canary", canary),
    Stage("monitor", "Check the requests for drift", monitor),
)
