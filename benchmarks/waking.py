"""How long a service at rest takes to answer its first request, beside upstream's server alone.

    .venv/bin/python benchmarks/waking.py [--wakes 10] [--models iris,digits,onnx,xgboost]
        [--kserve .venvs/kserve/bin/python]

A wake is a request through the inference gateway to a service without a pod: the time includes the
pod, its walls, the server, the model and the prediction. In turns with it, a few times: the same
with interpreters that are not kept; the bare process of our server; and, with ``--kserve``, that of
upstream's (``peers/kserve_serving.py``, scikit-learn's models only), each until its first answer.
Only what one run measures can be compared. Needs scikit-learn, skl2onnx, onnxruntime and xgboost
here; interpreters are kept on Linux, as root.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import msgspec
import numpy as np
from harness import platform

from kubeling.kube import objects
from kubeling.kube.client import Client
from kubeling.kube.config import load
from kubeling.kube.https import HttpsTransport
from kubeling.kube.objects import Obj, condition, new_object, uid
from kubeling.kube.resources import DEPLOYMENTS, PODS, Resource
from kubeling.serving import names
from kubeling.serving.resources import INFERENCE_SERVICES

NAMESPACE = "default"
PEER = Path(__file__).parent / "peers" / "kserve_serving.py"
FORMATS = {"iris": "sklearn", "digits": "sklearn", "onnx": "onnx", "xgboost": "xgboost"}
COLD = {"kubeling.io/warm-python": "false"}
KEPT = re.compile(r"^kubeling_python_templates (\d+)", re.MULTILINE)
KEPT_SECONDS = 30.0


@dataclass(frozen=True)
class Model:
    """A trained model: its folder, and a row to ask it about."""

    name: str
    folder: Path
    row: list[float]


def train(name: str, folder: Path) -> Model:
    import joblib
    from sklearn.datasets import load_digits, load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.svm import SVC

    features, target = (load_digits if name == "digits" else load_iris)(return_X_y=True)
    folder.mkdir()
    if name == "xgboost":
        from xgboost import XGBClassifier

        XGBClassifier(n_estimators=100).fit(features, target).save_model(folder / "model.json")
    else:
        made: Any = RandomForestClassifier(100, random_state=0) if name == "digits" else SVC()
        made.fit(features, target)
        if name == "onnx":
            import skl2onnx

            first = features[:1].astype(np.float32)
            converted = skl2onnx.to_onnx(made, first, options={id(made): {"zipmap": False}})
            (folder / "model.onnx").write_bytes(converted.SerializeToString())
        else:
            joblib.dump(made, folder / "model.joblib")
    row: list[float] = features[-1].tolist()
    return Model(name, folder, row)


class Services:
    """The platform's, and the way to them."""

    def __init__(self, client: Client, session: aiohttp.ClientSession) -> None:
        self._client = client
        self._session = session

    async def create(self, title: str, model: Model, annotations: dict[str, str]) -> None:
        """A service that rests a second after its last request; returns when it is ready."""
        annotations = {"autoscaling.knative.dev/window": "1s", **annotations}
        fields = {"modelFormat": {"name": FORMATS[model.name]}, "storageUri": str(model.folder)}
        predictor = {"minReplicas": 0, "annotations": annotations, "model": fields}
        made = new_object(INFERENCE_SERVICES, title, NAMESPACE, spec={"predictor": predictor})
        await self._client.create(INFERENCE_SERVICES, made)
        await self._until(INFERENCE_SERVICES, title, _is_ready)

    async def delete(self, title: str) -> None:
        await self._client.delete(INFERENCE_SERVICES, title, NAMESPACE)

    async def wake(self, title: str, model: Model, kept: bool) -> float:
        """Seconds until a service at rest has answered."""
        await self._until(DEPLOYMENTS, f"{title}-predictor-00001", _is_at_rest)
        await self._no_pods(title)
        if kept:
            await self._interpreters()
        await asyncio.sleep(0.5)
        path = f"/serving/{NAMESPACE}/{title}/v1/models/{title}:predict"
        return await _answer(self._session, path, model)

    async def _until(self, kind: Resource, title: str, holds: Callable[[Obj], bool]) -> None:
        fields = f"metadata.name={title}"
        async for event in self._client.watch(kind, NAMESPACE, fields=fields):
            if event.type != "DELETED" and holds(event.object):
                return

    async def _no_pods(self, title: str) -> None:
        found = await self._client.list(PODS, NAMESPACE, labels=f"{names.SERVICE}={title}")
        there = {uid(pod) for pod in found.items}
        changes = self._client.watch(PODS, NAMESPACE, resource_version=found.resource_version)
        if not there:
            return
        async for event in changes:
            if event.type == "DELETED":
                there.discard(uid(event.object))
            if not there:
                return

    async def _interpreters(self) -> None:
        """Waits for those of the storage initializer and of the server, where they are kept."""
        with suppress(TimeoutError):
            async with asyncio.timeout(KEPT_SECONDS):
                while True:
                    async with self._session.get("/metrics") as answer:
                        found = KEPT.search(await answer.text())
                    if found and int(found[1]) >= 2:
                        return
                    await asyncio.sleep(0.2)


def _is_ready(isvc: Obj) -> bool:
    ready = condition(isvc, "Ready")
    return ready is not None and ready.status == "True"


def _is_at_rest(deployment: Obj) -> bool:
    return objects.annotations(deployment).get(names.AT_REST) == "true"


async def _answer(session: aiohttp.ClientSession, path: str, model: Model) -> float:
    began = time.perf_counter()
    async with session.post(path, json={"instances": [model.row]}) as answer:
        if answer.status != 200:
            raise SystemExit(f"{path} was answered {answer.status}: {await answer.text()}")
        await answer.read()
    return time.perf_counter() - began


async def started(command: Sequence[str], port: int, model: Model) -> float:
    """Seconds from the start of a server's process to its first prediction."""
    nowhere = asyncio.subprocess.DEVNULL
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command, stdout=nowhere, stderr=nowhere, start_new_session=True
    )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            while process.returncode is None:
                try:
                    await _answer(session, "/v1/models/model:predict", model)
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.005)
                else:
                    return time.perf_counter() - began
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    raise SystemExit(f"{' '.join(command)} has ended")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def processes(model: Model, kserve: str) -> dict[str, Callable[[], Awaitable[float]]]:
    """Bare servers, by what they are called."""

    def ours() -> Awaitable[float]:
        port = free_port()
        command = [sys.executable, "-m", "kubeling.serving.server", "--model_name=model"]
        command += [f"--format={FORMATS[model.name]}", f"--model_dir={model.folder}"]
        return started([*command, f"--http_port={port}", "--enable_grpc=false"], port, model)

    def upstreams() -> Awaitable[float]:
        port, workers = free_port(), 1
        places = [str(model.folder), str(port), str(free_port()), str(workers)]
        return started([kserve, str(PEER), *places], port, model)

    found = {"our server's process": ours}
    if kserve and FORMATS[model.name] == "sklearn":
        found["kserve's process"] = upstreams
    return found


async def compare(services: Services, model: Model, options: argparse.Namespace) -> None:
    await services.create(model.name, model, {})
    await services.create(f"{model.name}-cold", model, COLD)
    beside = {
        "waking, not kept": lambda: services.wake(f"{model.name}-cold", model, kept=False),
        **processes(model, options.kserve),
    }
    found: dict[str, list[float]] = {"waking": [], **{name: [] for name in beside}}
    for turn in range(options.wakes):
        found["waking"].append(await services.wake(model.name, model, kept=True))
        for name, work in beside.items() if turn < options.beside else ():
            found[name].append(await work())
    for name, times in found.items():
        if times:
            print(f"{model.name:8} {name:21} {_figures(times)}")
    sys.stdout.flush()
    for title in (model.name, f"{model.name}-cold"):
        await services.delete(title)


def _figures(times: Sequence[float]) -> str:
    best, middle, worst = (f(times) * 1000 for f in (min, statistics.median, max))
    return f"best {best:6.0f}  p50 {middle:6.0f}  max {worst:6.0f} ms  of {len(times)}"


@asynccontextmanager
async def connected(data: Path) -> AsyncIterator[Services]:
    endpoints = msgspec.json.decode((data / "endpoints.json").read_bytes(), type=dict[str, Any])
    client = Client(HttpsTransport(load(data / "kubeconfig")))
    try:
        async with aiohttp.ClientSession(endpoints["dashboard"]) as session:
            yield Services(client, session)
    finally:
        await client.close()


async def measure(data: Path, folder: Path, options: argparse.Namespace) -> None:
    async with connected(data) as services:
        for name in options.models.split(","):
            await compare(services, train(name, folder / name), options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(FORMATS))
    parser.add_argument("--wakes", type=int, default=10)
    parser.add_argument("--beside", type=int, default=3, help="how often all else is measured")
    parser.add_argument("--kserve", default="", help="a Python that has kserve and scikit-learn")
    options = parser.parse_args()
    with TemporaryDirectory() as folder, platform() as found:
        found.up()
        asyncio.run(measure(found.data, Path(folder), options))
    print("goal: waking 200 ms, and a tenth of what kserve's process takes")


if __name__ == "__main__":
    main()
