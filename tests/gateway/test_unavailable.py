"""What pages say when a part they need is not there: a kind, or a component's REST face."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.support.dashboard import dashboard, reloaded, shown

from kubeling.gateway.kinds import NOTEBOOKS
from kubeling.gateway.pages.errors import explained
from kubeling.gateway.pages.view import Views
from kubeling.kube.objects import Obj, name, new_object
from kubeling.kube.resources import CUSTOM_RESOURCE_DEFINITIONS
from kubeling.notebooks.component import COMPONENT as NOTEBOOK_ROOM
from kubeling.pipelines.component import COMPONENT as PIPELINE_ROOM


def notebook(called: str) -> Obj:
    containers = [{"name": called, "image": "jupyter/minimal-notebook"}]
    spec = {"template": {"spec": {"containers": containers}}}
    return new_object(NOTEBOOKS, called, "default", spec=spec)


async def test_a_kind_that_the_server_does_not_have_is_named_on_the_page(tmp_path: Path) -> None:
    async with dashboard(tmp_path) as (client, _):
        status, page = await shown(client, "/experiments")
    assert status == 200
    assert "does not list experiments.kubeflow.org" in page
    assert "kubectl get crd" in page


async def test_a_kind_that_is_taken_away_is_named_until_it_is_back(tmp_path: Path) -> None:
    absent, row = "does not list notebooks.kubeflow.org", "/notebook/default/mine/"
    async with dashboard(tmp_path, NOTEBOOK_ROOM) as (client, context):
        await context.client.create(NOTEBOOKS, notebook("mine"))
        await reloaded(client, "/notebooks", says=row)

        crd = next(c for c in NOTEBOOK_ROOM.crds() if c["spec"]["names"]["kind"] == "Notebook")
        await context.client.delete(CUSTOM_RESOURCE_DEFINITIONS, name(crd))
        assert row not in await reloaded(client, "/notebooks", says=absent)

        await context.client.create(CUSTOM_RESOURCE_DEFINITIONS, crd)
        await context.client.create(NOTEBOOKS, notebook("mine"))
        assert absent not in await reloaded(client, "/notebooks", says=row)


async def test_a_component_that_is_down_is_said_in_a_sentence_and_hides_no_other_page(
    tmp_path: Path,
) -> None:
    async with dashboard(tmp_path) as (client, _):
        for path in ("/pipelines", "/pipelines/runs/1", "/registry"):
            status, page = await shown(client, path)
            assert status == 503
            assert "Not available now" in page
            assert "did not answer" in page
            assert "Traceback" not in page
        status, page = await shown(client, "/")
        assert status == 200
        assert "Running now" in page


async def test_what_is_not_there_is_said_in_the_components_own_words(tmp_path: Path) -> None:
    async with dashboard(tmp_path / "rest", PIPELINE_ROOM) as (rest, _):
        address = str(rest.make_url("")).rstrip("/")
        async with dashboard(tmp_path / "pages", rest_url=address) as (client, _):
            status, page = await shown(client, "/pipelines/runs/none")
    assert status == 404
    assert "Run none not found.</p>" in page


async def test_an_address_that_leads_nowhere_has_a_page_for_people_only(tmp_path: Path) -> None:
    async with dashboard(tmp_path) as (client, _):
        async with client.get("/pipelines/nothing/here", headers={"Accept": "text/html"}) as answer:
            page = await answer.text()
            assert answer.status == 404
        assert "There is no page at /pipelines/nothing/here." in page
        assert '<a class="button" href="/pipelines">Pipelines</a>' in page
        assert await shown(client, "/pipelines/nothing/here") == (404, "404: Not Found")


async def test_a_misspelt_name_leads_to_what_is_spelled_much_the_same(tmp_path: Path) -> None:
    async with dashboard(tmp_path, NOTEBOOK_ROOM) as (client, context):
        await context.client.create(NOTEBOOKS, notebook("analysis"))
        await context.client.create(NOTEBOOKS, notebook("other"))
        await reloaded(client, "/notebooks", says="analysis")
        status, page = await shown(client, "/objects/kubeflow.org/v1/Notebook/default/analisys")
    assert status == 404
    assert "There is no Notebook analisys in namespace default." in page
    assert '/Notebook/default/analysis">Notebook analysis in default</a>' in page
    assert "Notebook other" not in page


async def test_a_mistake_of_a_page_is_told_on_a_page(tmp_path: Path) -> None:
    async def broken(_: web.Request) -> web.StreamResponse:
        raise KeyError("secret detail")

    async with dashboard(tmp_path) as (_, context):
        app = web.Application()
        app.router.add_get("/broken", explained(Views(context), broken))
        async with TestClient(TestServer(app)) as client:
            status, page = await shown(client, "/broken")
    assert status == 500
    assert "Something went wrong" in page
    assert "The platform&#39;s log says more" in page
    assert "secret detail" not in page
