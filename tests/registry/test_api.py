"""The Model Registry, as its clients use it."""

from __future__ import annotations

from tests.registry.conftest import Registry

ACCURACY = {"accuracy": {"metadataType": "MetadataDoubleValue", "double_value": 0.9}}


async def model_with_version(registry: Registry, name: str = "iris") -> tuple[str, str]:
    model = await registry.post("registered_models", name=name, owner="me")
    version = await registry.post(
        f"registered_models/{model['id']}/versions",
        name="v1",
        registeredModelId=model["id"],
        customProperties=ACCURACY,
    )
    return model["id"], version["id"]


async def test_a_model_its_version_and_its_artifact_are_found_again(registry: Registry) -> None:
    model, version = await model_with_version(registry)
    artifact = await registry.post(
        f"model_versions/{version}/artifacts",
        artifactType="model-artifact",
        name="iris",
        uri="s3://bucket/model.joblib",
    )
    found = await registry.get("registered_model", name="iris")
    assert found["id"] == model
    assert found["state"] == "LIVE"
    found = await registry.get("model_version", name="v1", parentResourceId=model)
    assert found["customProperties"] == ACCURACY
    listed = await registry.get(f"model_versions/{version}/artifacts")
    assert [item["id"] for item in listed["items"]] == [artifact["id"]]
    assert (await registry.get(f"model_artifacts/{artifact['id']}"))["uri"] == artifact["uri"]


async def test_posting_an_artifact_again_changes_it(registry: Registry) -> None:
    _, version = await model_with_version(registry)
    path = f"model_versions/{version}/artifacts"
    made = await registry.post(path, artifactType="model-artifact", name="a", uri="s3://one")
    await registry.post(path, artifactType="model-artifact", id=made["id"], uri="s3://two")
    (item,) = (await registry.get(path))["items"]
    assert item["uri"] == "s3://two"


async def test_names_are_unique_where_they_belong(registry: Registry) -> None:
    model, _ = await model_with_version(registry)
    error = await registry.post("registered_models", 409, name="iris")
    assert "iris" in error["message"]
    await registry.post(f"registered_models/{model}/versions", 409, name="v1")
    other, _ = await model_with_version(registry, "wine")
    assert other != model


async def test_properties_stay_unless_they_are_given(registry: Registry) -> None:
    _, version = await model_with_version(registry)
    path = f"model_versions/{version}"
    changed = await registry.patch(path, description="better")
    assert changed["customProperties"] == ACCURACY
    changed = await registry.patch(path, customProperties={})
    assert changed["customProperties"] == {}
    assert changed["description"] == "better"


async def test_archiving_is_how_one_deletes(registry: Registry) -> None:
    model, _ = await model_with_version(registry)
    archived = await registry.patch(f"registered_models/{model}", state="ARCHIVED")
    assert archived["state"] == "ARCHIVED"
    error = await registry.patch(f"registered_models/{model}", 400, state="GONE")
    assert "LIVE" in error["message"]


async def test_what_is_missing_is_404_and_what_is_wrong_400(registry: Registry) -> None:
    await registry.get("registered_model", 404, name="nobody")
    await registry.get("registered_models/7", 404)
    await registry.get("registered_models/seven", 400)
    await registry.get("model_version", 400, name="v1")
    await registry.post("registered_models", 400, owner="me")


async def test_lists_come_in_pages(registry: Registry) -> None:
    for number in range(5):
        await registry.post("registered_models", name=f"m{number}")
    names: list[str] = []
    token = ""
    while True:
        page = await registry.get(
            "registered_models", pageSize=2, orderBy="ID", sortOrder="DESC", nextPageToken=token
        )
        names += [item["name"] for item in page["items"]]
        if not (token := page["nextPageToken"]):
            break
    assert names == ["m4", "m3", "m2", "m1", "m0"]


async def test_lists_can_be_filtered(registry: Registry) -> None:
    model, version = await model_with_version(registry)
    await registry.post(f"registered_models/{model}/versions", name="v2")
    path = f"registered_models/{model}/versions"
    found = await registry.get(path, filterQuery="accuracy.double_value > 0.5 OR name = 'v3'")
    assert [item["id"] for item in found["items"]] == [version]
    error = await registry.get(path, 400, filterQuery="accuracy >")
    assert "filterQuery" in error["message"]


async def test_a_serving_environment_knows_what_it_serves(registry: Registry) -> None:
    model, version = await model_with_version(registry)
    place = await registry.post("serving_environments", name="default")
    service = await registry.post(
        f"serving_environments/{place['id']}/inference_services",
        registeredModelId=model,
        modelVersionId=version,
        servingEnvironmentId=place["id"],
    )
    assert service["desiredState"] == "DEPLOYED"
    assert (await registry.get(f"inference_services/{service['id']}/model"))["id"] == model
    assert (await registry.get(f"inference_services/{service['id']}/version"))["id"] == version


async def test_a_runs_metrics_keep_their_history(registry: Registry) -> None:
    experiment = await registry.post("experiments", name="tuning")
    run = await registry.post("experiment_runs", experimentId=experiment["id"], name="first")
    path = f"experiment_runs/{run['id']}"
    for step, value in enumerate((0.5, 0.4)):
        body = {"artifactType": "metric", "name": "loss", "value": value, "step": step}
        await registry.post(f"{path}/artifacts", **body)
    history = await registry.get(f"{path}/metric_history", name="loss")
    assert [item["value"] for item in history["items"]] == [0.5, 0.4]
