"""TrainedModels: many models behind one service."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.serving.model_server import Doubler, serving_repository
from tests.serving.platform import NAMESPACE, Serving, is_ready, running_serving

from kubeling.kube.errors import Invalid
from kubeling.kube.objects import Obj, condition
from kubeling.kube.resources import CONFIG_MAPS, DEPLOYMENTS
from kubeling.serving.multimodel.agent import Agent
from kubeling.serving.multimodel.listing import failure_in
from kubeling.serving.multimodel.resources import TRAINED_MODELS
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.server.errors import ModelLoadError
from kubeling.serving.server.model import Model
from kubeling.serving.server.repository import FolderRepository

SMALL = {"resources": {"limits": {"memory": "1Gi"}}}


def trained_model(title: str, memory: str = "256Mi", **model: Any) -> Obj:
    source = {"storageUri": f"gs://bucket/{title}", "framework": "sklearn", "memory": memory}
    return {
        "apiVersion": TRAINED_MODELS.api_version,
        "kind": TRAINED_MODELS.kind,
        "metadata": {"name": title, "namespace": NAMESPACE},
        "spec": {"inferenceService": "many", "model": {**source, **model}},
    }


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with running_serving(tmp_path) as found:
        yield found


async def refused(serving: Serving, title: str, reason: str) -> str:
    """What a model's condition Ready says once it has this reason."""

    def holds(obj: Obj) -> bool:
        ready = condition(obj, "Ready")
        return ready is not None and ready.reason == reason

    ready = condition(await serving.until(TRAINED_MODELS, title, holds), "Ready")
    assert ready is not None
    assert ready.status == "False"
    return ready.message


def models_in(config: Obj) -> list[str]:
    return [entry["modelName"] for entry in json.loads(config["data"]["models.json"])]


async def test_models_of_a_service_are_listed_for_its_pods_while_there_is_memory(
    serving: Serving,
) -> None:
    first = trained_model("first")
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "1"}
    first["metadata"]["ownerReferences"] = [other]
    await serving.apply(TRAINED_MODELS, first)
    message = await refused(serving, "first", "InferenceServiceNotFound")
    assert message == 'there is no InferenceService "many" in the namespace'

    await serving.service("many", predictor={"sklearn": SMALL})
    deployment = await serving.exists(DEPLOYMENTS, "many-predictor-00001")
    pod = deployment["spec"]["template"]["spec"]
    server, agent = pod["containers"]
    assert server["command"] == ["python", "-m", "kubeling.serving.multimodel"]
    assert agent["name"] == "agent"
    assert "initContainers" not in pod
    await serving.start("many-predictor-00001")
    await serving.until(INFERENCE_SERVICES, "many", is_ready)

    await serving.apply(TRAINED_MODELS, trained_model("huge", "2Gi"))
    await serving.apply(TRAINED_MODELS, trained_model("other", framework="xgboost"))
    assert "no room for 2Gi more" in await refused(serving, "huge", "MemoryResourceNotAvailable")
    said = await refused(serving, "other", "FrameworkNotSupported")
    assert said == "InferenceService many serves sklearn, not xgboost"
    config = await serving.until(
        CONFIG_MAPS, "modelconfig-many-0", lambda o: models_in(o) == ["first"]
    )
    assert json.loads(config["data"]["models.json"])[0]["modelSpec"] == {
        "storageUri": "gs://bucket/first",
        "framework": "sklearn",
        "memory": "256Mi",
    }
    model = await serving.until(TRAINED_MODELS, "first", lambda o: "url" in o["status"])
    url = "http://many-default.example.com/v1/models/first:predict"
    assert model["status"]["url"] == url
    owners = [owner["name"] for owner in model["metadata"]["ownerReferences"]]
    assert owners == ["other", "many"], "it goes with its service, and stays others' as well"
    await serving.client.delete(TRAINED_MODELS, "first", NAMESPACE)
    await serving.until(CONFIG_MAPS, "modelconfig-many-0", lambda o: models_in(o) == [])


async def test_pods_that_could_not_be_asked_for_their_models_are_asked_again(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in ("_ASK_AGAIN_SECONDS", "_LOOK_AGAIN_SECONDS"):
        monkeypatch.setattr(f"kubeling.serving.multimodel.controller.{seconds}", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    monkeypatch.setattr("kubeling.serving.multimodel.controller.serving_port", lambda _: port)
    await serving.service("many", predictor={"sklearn": SMALL})
    await serving.start("many-predictor-00001")
    await serving.until(INFERENCE_SERVICES, "many", is_ready)
    await serving.apply(TRAINED_MODELS, trained_model("first"))

    def loaded(value: str) -> Callable[[Obj], bool]:
        def holds(obj: Obj) -> bool:
            found = condition(obj, "ModelLoaded")
            return found is not None and found.status == value

        return holds

    await serving.until(TRAINED_MODELS, "first", loaded("Unknown"))

    present: list[Obj] = []

    async def index(_: web.Request) -> web.Response:
        return web.json_response(present)

    app = web.Application()
    app.router.add_post("/v2/repository/index", index)
    async with TestServer(app, port=port):
        model = await serving.until(TRAINED_MODELS, "first", loaded("False"))
        found = condition(model, "ModelLoaded")
        assert found is not None
        assert found.message == "pod many-predictor-00001-pod does not have it yet"
        present.append({"name": "first", "state": "READY"})
        await serving.until(TRAINED_MODELS, "first", loaded("True"))


async def test_each_model_that_a_pod_lacks_says_so(serving: Serving) -> None:
    async def index(_: web.Request) -> web.Response:
        ready = {"state": "READY"}
        former = {"name": "former", "source": "of another address", **ready}
        return web.json_response([{"name": "loaded", **ready}, former])

    app = web.Application()
    app.router.add_post("/v2/repository/index", index)
    pid = os.getpid()
    address = f"127.67.{pid >> 8 & 255}.{pid & 255}"
    async with TestServer(app, host=address, port=8080):
        await serving.service("many", predictor={"sklearn": SMALL})
        await serving.start("many-predictor-00001", address)
        for title in ("loaded", "former", "first", "second"):
            await serving.apply(TRAINED_MODELS, trained_model(title))
        for title in ("first", "second"):
            message = await refused(serving, title, "ModelNotLoaded")
            assert message == "pod many-predictor-00001-pod does not have it yet"
        await serving.until(TRAINED_MODELS, "loaded", is_ready)
        message = await refused(serving, "former", "ModelNotLoaded")
        assert message == "pod many-predictor-00001-pod still answers by the former files"


async def test_a_service_with_a_model_of_its_own_takes_no_others(serving: Serving) -> None:
    await serving.service("many", predictor={"sklearn": {"storageUri": "gs://bucket/own"}})
    await serving.start("many-predictor-00001")
    await serving.until(INFERENCE_SERVICES, "many", is_ready)
    await serving.apply(TRAINED_MODELS, trained_model("first"))
    message = await refused(serving, "first", "IsNotMMSPredictor")
    assert message == "InferenceService many serves a model of its own; leave out its storageUri"


async def test_a_service_whose_model_a_flag_names_is_no_server_of_many(serving: Serving) -> None:
    named = {"huggingface": {"args": ["--model_id", "team/model"]}}
    await serving.service("one", predictor=named)
    deployment = await serving.exists(DEPLOYMENTS, "one-predictor-00001")
    (server,) = deployment["spec"]["template"]["spec"]["containers"]
    assert server["command"] == ["python", "-m", "kubeling.serving.server"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"storageUri": "pvc://claim/model"}, 'spec.model.storageUri: Unsupported value: "pvc:'),
        ({"memory": "much"}, "spec.model.memory: Invalid value"),
    ],
)
async def test_what_no_pod_could_load_is_refused(
    serving: Serving, model: Obj, message: str
) -> None:
    obj = trained_model("odd")
    obj["spec"]["model"] |= model
    with pytest.raises(Invalid) as error:
        await serving.apply(TRAINED_MODELS, obj)
    assert message in str(error.value)


async def test_the_memory_of_a_model_is_fixed(serving: Serving) -> None:
    await serving.apply(TRAINED_MODELS, trained_model("first", "256Mi"))
    with pytest.raises(Invalid, match=r"spec\.model\.memory: Forbidden: is 256Mi"):
        await serving.apply(TRAINED_MODELS, trained_model("first", "1Gi"))


class Place:
    """A model server, its agent's files, and where models come from."""

    def __init__(self, folder: Path, client: aiohttp.ClientSession, server: str) -> None:
        self.source = folder / "source"
        self._config = folder / "models.json"
        self._models = folder / "models"
        self._client = client
        self._server = server
        self.agent = self.new_agent()

    def new_agent(self) -> Agent:
        return Agent(self._config, self._models, self._server)

    async def listed(self, *names: str, **addresses: str) -> None:
        addresses |= {title: str(self.source / title) for title in names}
        entries = [
            {"modelName": title, "modelSpec": {"storageUri": address}}
            for title, address in addresses.items()
        ]
        await self.listed_as(json.dumps(entries))

    async def listed_as(self, text: str) -> None:
        self._config.write_text(text)
        await asyncio.to_thread(self._look)

    def _look(self) -> None:
        """Until all is done that there is to do now."""
        self.agent.look()
        while self.agent.is_busy:
            self.agent.rest(60)
            self.agent.look()

    async def sources(self) -> dict[str, str]:
        async with self._client.post("/v2/repository/index") as answer:
            return {entry["name"]: entry["source"] for entry in await answer.json()}

    async def loaded(self) -> list[str]:
        async with self._client.post("/v2/repository/index") as answer:
            return [entry["name"] for entry in await answer.json() if entry["state"] == "READY"]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with placed(tmp_path, Doubler) as found:
        yield found


@contextlib.asynccontextmanager
async def placed(tmp_path: Path, create: Callable[[str], Model]) -> AsyncIterator[Place]:
    for folder in ("models", "source/a", "source/b"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "source/a/model").write_text("a")
    repository = FolderRepository("", tmp_path / "models", lambda title, _: create(title))
    async with serving_repository(repository) as client:
        async with client.get("/") as answer:
            server = str(answer.url)
        yield Place(tmp_path, client, server)


async def test_the_agent_loads_what_is_listed_and_unloads_what_is_not(place: Place) -> None:
    await place.listed("a", "b")
    assert await place.loaded() == ["a", "b"]
    await place.listed("b")
    assert await place.loaded() == ["b"]


async def test_a_model_that_cannot_be_had_does_not_keep_others_from_being_loaded(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    await place.listed("absent", "b", unreadable="http://[::1/model")
    assert await place.loaded() == ["b"]
    said = capsys.readouterr().err
    assert "model absent:" in said
    assert "model unreadable: ValueError: Invalid IPv6 URL; trying again" in said
    # The controller finds it there again, for the model's status.
    log = f"loaded other\n{said}unloaded other\n"
    assert failure_in(log, "unreadable") == "ValueError: Invalid IPv6 URL"
    assert failure_in(log, "other") == ""


async def test_an_entry_that_is_wrong_does_not_keep_others_from_being_loaded(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    await place.listed("a")
    entries = [
        "a text",
        {"modelSpec": {"storageUri": "/nameless"}},
        {"modelName": "../escaped", "modelSpec": {"storageUri": "/escaped"}},
        {"modelName": "a"},
        {"modelName": "b", "modelSpec": {"storageUri": str(place.source / "b")}},
    ]
    await place.listed_as(json.dumps(entries))
    assert await place.loaded() == ["a", "b"], "what is there stays while its entry is wrong"
    said = capsys.readouterr().err
    assert "entry 0 of the list has no usable modelName: None" in said
    assert "entry 2 of the list has no usable modelName: '../escaped'" in said
    assert "model a: ValueError: modelSpec.storageUri is missing; trying again" in said


@pytest.mark.parametrize("text", ["", "[{", "{}"])
async def test_a_list_that_cannot_be_read_unloads_nothing(
    place: Place, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    await place.listed("a", "b")
    await place.listed_as(text)
    await place.listed_as(text)
    assert await place.loaded() == ["a", "b"]
    assert capsys.readouterr().err.count("the models stay as they are") == 1, "said once"
    await place.listed("b")
    assert await place.loaded() == ["b"]


async def test_a_slow_model_keeps_no_other_waiting(place: Place) -> None:
    """Four are brought at once; here one of them is sent only when all others are loaded."""
    others = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await others.wait()
        return web.Response(body=b"slow")

    app = web.Application()
    app.router.add_get("/slow.txt", slow)
    async with TestServer(app) as server:
        listed = asyncio.create_task(
            place.listed("a", "b", a_first=str(server.make_url("/slow.txt")))
        )
        async with asyncio.timeout(60):
            while True:
                if await place.loaded() == ["a", "b"]:
                    break
                await asyncio.sleep(0.001)
        others.set()
        await listed
    assert await place.loaded() == ["a", "a_first", "b"]


async def test_a_model_whose_new_files_do_not_load_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reloaded(Doubler):
        def load(self) -> bool:
            loads.append(self.name)
            if len(loads) == 2:
                raise ModelLoadError("there is no memory left")
            return True

    loads: list[str] = []
    monkeypatch.setattr("kubeling.serving.multimodel.agent._AGAIN_SECONDS", 0.0)
    async with placed(tmp_path, Reloaded) as place:
        await place.listed(a=str(place.source / "a"))
        assert loads == ["a"]
        await place.listed(a=str(place.source / "b"))
        assert loads == ["a"] * 3, "the model there was before is not the one that is listed"
        assert await place.loaded() == ["a"]


async def test_a_server_that_is_slow_to_say_what_it_has_is_brought_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counted(Doubler):
        def load(self) -> bool:
            loads.append(self.name)
            return True

    loads: list[str] = []
    monkeypatch.setattr("kubeling.serving.multimodel.agent._INDEX_SECONDS", 1e-9)
    async with placed(tmp_path, Counted) as place:
        await place.listed("a")
        await place.listed("a", "b")
    assert loads == ["a", "b"]


async def test_the_server_says_by_which_files_it_answers(place: Place) -> None:
    await place.listed(a=str(place.source / "a"))
    first = await place.sources()
    await place.listed(a=str(place.source / "absent"))
    assert await place.sources() == first
    place.agent = place.new_agent()
    await place.listed(a=str(place.source / "b"))
    assert (await place.sources()).keys() == first.keys()
    assert await place.sources() != first
    await place.listed()
    assert await place.sources() == {}


async def test_a_model_that_cannot_be_unloaded_stays_the_agents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []

    async def unload(repository: FolderRepository, name: str) -> None:
        refused.append(name)
        if len(refused) == 1:
            raise ModelLoadError("it is busy")
        await unloaded(repository, name)

    unloaded = FolderRepository.unload
    monkeypatch.setattr(FolderRepository, "unload", unload)
    monkeypatch.setattr("kubeling.serving.multimodel.agent._AGAIN_SECONDS", 0.0)
    async with placed(tmp_path, Doubler) as place:
        await place.listed("a")
        await place.listed()
        assert refused == ["a", "a"]
        assert await place.loaded() == []


async def test_an_agent_that_starts_anew_unloads_what_is_no_longer_listed(place: Place) -> None:
    await place.listed("a", "b")
    place.agent = place.new_agent()
    await place.listed("a")
    assert await place.loaded() == ["a"]
