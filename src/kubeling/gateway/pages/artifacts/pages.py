"""The list of artifacts, and one with its content, its facts and its lineage."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote

import msgspec
from aiohttp import web

from kubeling.gateway.drawing.curves import Curve, draw_curves
from kubeling.gateway.drawing.roc import draw_roc, points_of
from kubeling.gateway.kinds import RUNS
from kubeling.gateway.pages.artifacts.lineage import kind_of, lineage_of
from kubeling.gateway.pages.artifacts.preview import LIMIT, Preview, preview_of
from kubeling.gateway.pages.histories import histories_of
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import Refused, RestClient
from kubeling.kube.objects import name, uid

__all__ = ["artifact_list", "artifact_page", "confusion_of", "run_titles"]

_GONE: Final = "9999"
"""Later than the beginning of any run that is still there."""
_API: Final = "/apis/v2beta1/artifacts"
_TYPES: Final = (
    "system.Dataset", "system.Model", "system.Metrics", "system.ClassificationMetrics",
    "system.HTML", "system.Markdown", "system.Artifact",
)  # fmt: skip


async def artifact_list(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """Artifacts by name and type, newest first."""
    query = request.query
    asked = {key: query.get(key, "").strip() for key in ("q", "type")}
    predicates = []
    if asked["q"]:
        predicates.append({"key": "name", "operation": "IS_SUBSTRING", "string_value": asked["q"]})
    if asked["type"]:
        predicates.append({"key": "type", "operation": "EQUALS", "string_value": asked["type"]})
    listed = await rest.get(
        _API,
        page_size="50",
        sort_by="created_at desc",
        page_token=query.get("token", ""),
        filter=json.dumps({"predicates": predicates}) if predicates else "",
    )
    found = listed.get("artifacts") or []
    makers = await _makers(views, rest, [str(artifact["artifact_id"]) for artifact in found])
    return views.page(
        request,
        "artifacts.html",
        "/pipelines",
        "Artifacts",
        (RUNS,),
        artifacts=[(a, kind_of(a), makers.get(str(a["artifact_id"]))) for a in found],
        runs=await run_titles(views),
        token=listed.get("next_page_token", ""),
        total=listed.get("total_size", 0),
        asked=asked,
        types=_TYPES,
    )


async def _makers(
    views: Views, rest: RestClient, artifacts: list[str]
) -> dict[str, dict[str, Any]]:
    """By artifact, the link that says which step of which run made it: the oldest."""
    if not artifacts:
        return {}
    asked = "&".join(f"artifact_ids={quote(key, safe='')}" for key in artifacts)
    answer = await rest.get(f"/apis/v2beta1/artifact_tasks?{asked}&page_size=200")
    # Runs that took it from the cache name it as theirs, too.
    born = {uid(r): str(r["metadata"].get("creationTimestamp")) for r in await views.objects(RUNS)}
    links = [link for link in answer.get("artifact_tasks") or () if link.get("type") == "OUTPUT"]
    links.sort(key=lambda link: born.get(str(link.get("run_id")), _GONE), reverse=True)
    return {str(link["artifact_id"]): link for link in links}


async def run_titles(views: Views) -> dict[str, str]:
    """The names of runs, by their ids."""
    return {
        uid(run): str(run["spec"].get("displayName") or name(run))
        for run in await views.objects(RUNS)
    }


async def artifact_page(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """One artifact."""
    key, path = request.match_info["artifact"], request.query.get("path", "")
    artifact = await rest.get(f"{_API}/{quote(key, safe='')}")
    metadata = dict(artifact.get("metadata") or {})
    preview, trouble = await _preview(rest, artifact, path)
    lineage = await lineage_of(rest, key)
    points = points_of(metadata)
    runs = await run_titles(views)
    made, used = lineage.of(key, "OUTPUT"), lineage.of(key, "INPUT")
    return views.page(
        request,
        "artifact.html",
        "/pipelines",
        str(artifact.get("name") or key),
        artifact=artifact,
        schema=kind_of(artifact),
        path=path,
        content=f"{_API}/{key}/content" + (f"?path={quote(path)}" if path else ""),
        preview=preview,
        trouble=trouble,
        metadata={k: v for k, v in metadata.items() if not isinstance(v, dict | list)},
        roc=draw_roc({str(artifact.get("name")): points}) if points else "",
        confusion=confusion_of(metadata),
        made=made,
        used=used,
        runs=runs,
        histories=[
            (metric, draw_curves([Curve(metric, found)], "step", metric))
            for metric, found in histories_of([metadata]).items()
        ],
        graph=lineage.draw(key, runs),
    )


async def _preview(
    rest: RestClient, artifact: dict[str, Any], path: str
) -> tuple[Preview | None, str]:
    """What of the content can be shown, or why there is nothing."""
    schema = kind_of(artifact)
    if schema in ("system.Metrics", "system.ClassificationMetrics"):
        return None, ""  # What they say is in their metadata.
    try:
        data, whole, kind = await rest.beginning(
            f"{_API}/{artifact['artifact_id']}/content?path={quote(path)}", LIMIT
        )
    except (Refused, ConnectionError) as error:
        return None, str(error)
    file = path or str(artifact.get("uri", "")).rpartition("/")[2]
    if kind == "application/json" and whole and (files := _listing(data)):
        return Preview("files", files=files), ""
    return preview_of(data, schema if not path else "", file, whole=whole), ""


def _listing(data: bytes) -> list[dict[str, Any]]:
    """The files of a folder, if that is what was answered."""
    try:
        found = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return []
    if not isinstance(found, dict) or set(found) != {"files"}:
        return []
    return [f for f in found["files"] if isinstance(f, dict) and "path" in f]


def confusion_of(metadata: dict[str, Any]) -> dict[str, Any] | None:
    """The confusion matrix in a ClassificationMetrics artifact's metadata, with its shares."""
    found = metadata.get("confusionMatrix") or metadata.get("confusion_matrix")
    if isinstance(found, dict) and isinstance(found.get("struct"), dict):
        found = found["struct"]
    if not isinstance(found, dict):
        return None
    names = [str(s.get("displayName", "")) for s in found.get("annotationSpecs") or ()]
    rows = [[float(v) for v in row.get("row") or ()] for row in found.get("rows") or ()]
    if not names or len(rows) != len(names):
        return None
    shares = [[value / (sum(row) or 1) for value in row] for row in rows]
    return {"names": names, "rows": list(zip(names, rows, shares, strict=True))}
