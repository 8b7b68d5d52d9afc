"""The pods that a service's spec stands for."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from tests.serving.services import service

from kubeling.kube.objects import Obj
from kubeling.serving import templates
from kubeling.serving.credentials import Access, from_secrets, from_storage_config
from kubeling.serving.runtimes import builtin_runtimes, select_runtime
from kubeling.serving.storage.uris import StorageNotFound
from kubeling.serving.templates import at_revision, digest
from kubeling.serving.workloads import serving_port


def predictor(isvc: Obj, access: Access | None = None, recording: Access | None = None) -> Obj:
    model = isvc["spec"]["predictor"].get("model")
    runtime = select_runtime(model, [], builtin_runtimes()) if model else None
    return templates.predictor(isvc, runtime, access or Access(), recording=recording)


def env(container: Obj) -> dict[str, Any]:
    return {v["name"]: v.get("value", v.get("valueFrom")) for v in container.get("env") or ()}


def test_a_model_is_fetched_before_its_server_starts() -> None:
    pod = predictor(service())["spec"]
    fetch, serve = pod["initContainers"][0], pod["containers"][0]
    assert fetch["args"] == ["gs://bucket/iris", "/mnt/models"]
    assert fetch["volumeMounts"][0]["name"] == serve["volumeMounts"][0]["name"]
    assert serve["image"] == "kubeling/model-server:sklearn"
    assert "--model_name=iris" in serve["args"]
    assert env(serve)["INFERENCE_SERVICE_NAME"] == "iris"


def test_a_claim_is_mounted_and_not_copied() -> None:
    pod = predictor(service(predictor={"sklearn": {"storageUri": "pvc://claim/a/b"}}))["spec"]
    assert "initContainers" not in pod
    assert pod["volumes"] == [
        {
            "name": "model-claim-0",
            "persistentVolumeClaim": {"claimName": "claim", "readOnly": True},
        }
    ]
    assert pod["containers"][0]["volumeMounts"][0]["subPath"] == "a/b"


def test_a_folder_of_the_node_is_shown_only_to_the_initializer() -> None:
    pod = predictor(service(predictor={"sklearn": {"storageUri": "file:///models/iris"}}))["spec"]
    source = {"name": "model-source-0", "hostPath": {"path": "/models", "type": "Directory"}}
    assert source in pod["volumes"]
    assert {m["name"] for m in pod["containers"][0]["volumeMounts"]} == {
        "kserve-provision-location"
    }


def test_what_the_user_says_about_the_container_comes_on_top_of_the_runtime() -> None:
    content = {
        "storageUri": "gs://b/m",
        "args": ["--x"],
        "env": [{"name": "OMP_NUM_THREADS", "value": "4"}],
        "resources": {"limits": {"cpu": "2"}},
        "runtimeVersion": "1.5",
    }
    isvc = service(predictor={"sklearn": content, "nodeSelector": {"disk": "ssd"}})
    pod = predictor(isvc)["spec"]
    main = pod["containers"][0]
    assert main["args"][-1] == "--x"
    assert env(main)["OMP_NUM_THREADS"] == "4"
    assert main["resources"]["limits"] == {"cpu": "2"}
    assert main["resources"]["requests"]["cpu"] == "100m"
    assert main["image"] == "kubeling/model-server:sklearn-1.5"
    assert pod["nodeSelector"] == {"disk": "ssd"}


def test_a_server_is_asked_where_it_is_told_to_listen() -> None:
    port = {"containerPort": 5000, "protocol": "TCP"}
    grpc = {"containerPort": 8081, "name": "h2c"}
    content = {"storageUri": "gs://b/m", "args": ["--http_port=5000"], "ports": [port, grpc]}
    main = predictor(service(predictor={"sklearn": content}))["spec"]["containers"][0]
    assert main["ports"] == [port, grpc]
    assert main["readinessProbe"]["httpGet"]["port"] == 5000


def test_probes_that_name_no_port_ask_the_server() -> None:
    probes = {
        "livenessProbe": {"httpGet": {"path": "/alive"}},
        "readinessProbe": {"httpGet": {"path": "/ready"}, "periodSeconds": 7},
    }
    content = {"storageUri": "gs://b/m", **probes}
    main = predictor(service(predictor={"sklearn": content}))["spec"]["containers"][0]
    assert main["livenessProbe"] == {"httpGet": {"path": "/alive", "port": 8080}}
    assert main["readinessProbe"]["httpGet"] == {"path": "/ready", "port": 8080}
    assert main["readinessProbe"]["periodSeconds"] == 7


def test_a_container_of_ones_own_may_ask_for_a_model() -> None:
    container = {"image": "mine", "env": [{"name": "STORAGE_URI", "value": "s3://b/m"}]}
    pod = predictor(service(predictor={"containers": [container]}))["spec"]
    assert pod["initContainers"][0]["args"] == ["s3://b/m", "/mnt/models"]
    assert pod["containers"][0]["image"] == "mine"
    assert env(pod["containers"][0])["STORAGE_URI"] == "/mnt/models"
    assert pod["containers"][0]["readinessProbe"]["tcpSocket"] == {"port": 8080}


def test_a_transformer_is_told_where_its_revisions_predictor_is() -> None:
    isvc = service(
        predictor={"sklearn": {"storageUri": "gs://b/m"}},
        transformer={"containers": [{"image": "t", "args": ["--model_name", "other"]}]},
    )
    template = templates.transformer(isvc)
    pod = at_revision(template, isvc, "transformer", 3)
    arguments = pod["spec"]["containers"][0]["args"]
    assert arguments[:2] == ["--model_name", "other"]
    assert arguments[arguments.index("--predictor_host") + 1] == "iris-predictor-00003.default"
    assert pod["metadata"]["labels"]["serving.kubeling.io/revision"] == "00003"


def test_scaling_and_the_canary_make_no_new_revision() -> None:
    first = predictor(service())
    content = {"sklearn": {"storageUri": "gs://bucket/iris"}}
    scaled = service(predictor={**content, "minReplicas": 5, "canaryTrafficPercent": 10})
    other = service(predictor={"sklearn": {"storageUri": "gs://bucket/iris2"}})
    assert digest(first) == digest(predictor(scaled))
    assert digest(first) != digest(predictor(other))


def test_credentials_stay_in_their_secrets() -> None:
    secret = {
        "metadata": {
            "name": "s3",
            "annotations": {
                "serving.kserve.io/s3-endpoint": "minio.kubeflow:9000",
                "serving.kserve.io/s3-usehttps": "0",
            },
        },
        "data": {"AWS_ACCESS_KEY_ID": "eA==", "AWS_SECRET_ACCESS_KEY": "eA=="},
    }
    google = {"metadata": {"name": "g"}, "data": {"gcloud-application-credentials.json": "e30="}}
    access = from_secrets([secret, google])
    pod = predictor(service(), access)["spec"]
    found = env(pod["initContainers"][0])
    assert found["AWS_ACCESS_KEY_ID"] == {
        "secretKeyRef": {"name": "s3", "key": "AWS_ACCESS_KEY_ID"}
    }
    assert found["AWS_ENDPOINT_URL"] == "http://minio.kubeflow:9000"
    path = "/var/secrets/gcloud-application-credentials.json"
    assert found["GOOGLE_APPLICATION_CREDENTIALS"] == path
    assert {"name": "storage-credentials", "secret": {"secretName": "g"}} in pod["volumes"]
    assert "AWS_ACCESS_KEY_ID" not in env(pod["containers"][0])


S3_KEYS = {"AWS_ACCESS_KEY_ID": "i", "AWS_SECRET_ACCESS_KEY": "s"}


@pytest.mark.parametrize(
    ("annotations", "keys", "expected"),
    [
        ({"s3-endpoint": "host:9"}, {}, ("", "host:9", "https://host:9")),
        ({"s3-endpoint": "host:9", "s3-usehttps": "1"}, {}, ("1", "host:9", "https://host:9")),
        ({}, {"S3_ENDPOINT": "host:9", "S3_USE_HTTPS": "0"}, ("0", "host:9", "http://host:9")),
        ({}, {"S3_ENDPOINT": "HTTP://host:9"}, ("0", "host:9", "HTTP://host:9")),
        ({}, {"S3_ENDPOINT": "a\n", "S3_USE_HTTPS": "0\n"}, ("0", "a", "http://a")),
        ({"s3-endpoint": "https://a"}, {"S3_ENDPOINT": "b"}, ("1", "a", "https://a")),
    ],
)
def test_where_a_store_is_may_be_said_by_annotations_or_by_keys(
    annotations: dict[str, str], keys: dict[str, str], expected: tuple[str, str, str]
) -> None:
    """From upstream's table of BuildS3EnvVars, and what a file brings along."""
    found = secret("s3", **S3_KEYS, **keys)
    found["metadata"]["annotations"] = {f"serving.kserve.io/{k}": v for k, v in annotations.items()}
    told = {v["name"]: v.get("value") for v in from_secrets([found]).env}
    names = ("S3_USE_HTTPS", "S3_ENDPOINT", "AWS_ENDPOINT_URL")
    assert tuple(told.get(name) or "" for name in names) == expected


def test_settings_of_a_store_may_be_keys_of_its_secret() -> None:
    keys = {"AWS_DEFAULT_REGION": "eu-1", "S3_VERIFY_SSL": "0", "awsAnonymousCredential": "true"}
    told = {v["name"]: v.get("value") for v in from_secrets([secret("s3", **S3_KEYS, **keys)]).env}
    assert {key: told[key] for key in keys} == keys


def test_an_account_that_acts_as_a_role_says_itself_where_its_store_is() -> None:
    said = {"serving.kserve.io/s3-endpoint": "host", "eks.amazonaws.com/role-arn": "arn:aws:x"}
    account: Obj = {"metadata": {"name": "a", "annotations": said}}
    assert [v["name"] for v in from_secrets([], account).env] == ["S3_ENDPOINT", "AWS_ENDPOINT_URL"]
    del said["eks.amazonaws.com/role-arn"]
    assert from_secrets([], account).env == []


@pytest.mark.parametrize("file", ["", "/certs/own.pem"])
def test_a_stores_authority_is_mounted_from_its_configmap(file: str) -> None:
    keys = {"AWS_CA_BUNDLE_CONFIGMAP": "authority", **({"AWS_CA_BUNDLE": file} if file else {})}
    pod = predictor(service(), from_secrets([secret("s3", **S3_KEYS, **keys)]))["spec"]
    fetch = pod["initContainers"][0]
    place = "/certs" if file else "/etc/ssl/custom-certs"
    assert env(fetch)["AWS_CA_BUNDLE"] == (file or f"{place}/cabundle.crt")
    assert {"name": "cabundle-cert", "configMap": {"name": "authority"}} in pod["volumes"]
    mount = {"name": "cabundle-cert", "mountPath": place, "readOnly": True}
    assert mount in fetch["volumeMounts"]


def test_an_entry_of_storage_config_may_name_its_authority() -> None:
    entry = secret("storage-config", mine='{"type": "s3", "cabundle_configmap": "authority"}')
    access = from_storage_config(entry, "mine", {"bucket": "b"})
    assert access.volumes == [{"name": "cabundle-cert", "configMap": {"name": "authority"}}]


@pytest.mark.parametrize(("said", "expected"), [("true", True), ("false", False), ("x", True)])
def test_models_are_shown_for_reading_unless_their_service_says_otherwise(
    said: str, expected: bool
) -> None:
    for uri in ("gs://b/m", "pvc://claim/m"):
        isvc = service(predictor={"sklearn": {"storageUri": uri}})
        isvc["metadata"]["annotations"] = {"storage.kserve.io/readonly": said}
        pod = predictor(isvc)["spec"]
        assert pod["containers"][0]["volumeMounts"][0]["readOnly"] is expected
        claim = pod["volumes"][0].get("persistentVolumeClaim")
        assert claim is None or claim["readOnly"] is expected


def test_models_are_fetched_as_the_user_that_a_mesh_lets_out() -> None:
    isvc = service()
    isvc["metadata"]["annotations"] = {"serving.kserve.io/storage-initializer-uid": "1337"}
    fetch = predictor(isvc)["spec"]["initContainers"][0]
    assert fetch["securityContext"] == {"runAsUser": 1337}


def test_annotations_for_others_reach_the_pods() -> None:
    isvc = service(
        predictor={
            "sklearn": {"storageUri": "gs://b/m"},
            "annotations": {"sidecar.istio.io/inject": "true"},
        }
    )
    own = {
        "sidecar.istio.io/inject": "false",
        "team": "blue",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "serving.kubeling.io/retrained": "3",
        "serving.kserve.io/deploymentMode": "Standard",
        "autoscaling.knative.dev/min-scale": "1",
    }
    isvc["metadata"]["annotations"] |= own
    found = predictor(isvc)["metadata"]["annotations"]
    assert found == {"sidecar.istio.io/inject": "true", "team": "blue"}


def test_pods_say_where_prometheus_finds_their_metrics_if_asked_to() -> None:
    isvc = service()
    isvc["metadata"]["annotations"] |= {"serving.kserve.io/enable-prometheus-scraping": "true"}
    assert predictor(isvc)["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8080",
        "prometheus.io/path": "/metrics",
    }


def test_a_variable_or_volume_that_two_secrets_give_is_there_once() -> None:
    google = "gcloud-application-credentials.json"
    access = from_secrets(
        [secret(name, AWS_ACCESS_KEY_ID="i", **{google: "e30="}) for name in ("one", "two")]
    )
    own = [{"name": "AWS_ACCESS_KEY_ID", "value": "mine"}]
    model = {"storageUri": "s3://b/m", "env": own}
    pod = predictor(service(predictor={"sklearn": model}), access)["spec"]
    variables = [variable["name"] for variable in pod["initContainers"][0]["env"]]
    assert variables == ["AWS_ACCESS_KEY_ID", "GOOGLE_APPLICATION_CREDENTIALS"]
    assert env(pod["initContainers"][0])["AWS_ACCESS_KEY_ID"] == "mine"
    volumes = [volume["name"] for volume in pod["volumes"]]
    assert len(volumes) == len(set(volumes))


def test_the_models_environment_tells_where_its_store_is() -> None:
    emulator = {"name": "STORAGE_EMULATOR_HOST", "value": "http://gcs:4443"}
    plain = {"name": "KSERVE_OCI_INSECURE_REGISTRY", "value": "true"}
    model = {"storageUri": "gs://b/m", "env": [emulator, plain, {"name": "OTHER", "value": "x"}]}
    pod = predictor(service(predictor={"sklearn": model}))["spec"]
    assert pod["initContainers"][0]["env"] == [emulator, plain]


def test_a_storage_config_entry_is_referred_to() -> None:
    secret = {"metadata": {"name": "storage-config"}, "data": {"mine": "e30="}}
    found = from_storage_config(secret, "mine", {"bucket": "b"}).env
    assert found[0]["valueFrom"] == {"secretKeyRef": {"name": "storage-config", "key": "mine"}}
    model = {"modelFormat": {"name": "sklearn"}, "storage": {"key": "mine", "path": "a/b"}}
    model["storage"]["parameters"] = {"type": "s3", "bucket": "data"}
    pod = predictor(service(predictor={"model": model}))["spec"]
    assert pod["initContainers"][0]["args"][0] == "s3://data/a/b"


def secret(title: str, kind: str = "Opaque", **data: str) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"metadata": {"name": title}, "type": kind, "data": encoded}


def test_each_stores_secret_is_known_by_its_keys() -> None:
    found = from_secrets(
        [
            secret("a", AZ_CLIENT_ID="i", AZ_CLIENT_SECRET="s", AZ_TENANT_ID="t"),
            secret("k", AZURE_STORAGE_ACCESS_KEY="k"),
            secret("h", HF_TOKEN="t"),
            secret("m", MODELSCOPE_API_TOKEN="t"),
            secret("g", GIT_USERNAME="u", GIT_PASSWORD="p"),
            secret("s", awsAccessKeyID="i", awsSecretAccessKey="s"),
            secret("w", **{"https-host": "Models.example.com:8443", "headers": "{}"}),
            secret("d", HDFS_NAMENODE="http://n"),
            secret("r", "kubernetes.io/dockerconfigjson", **{".dockerconfigjson": "{}"}),
        ]
    )
    keys = {
        variable["name"]: (entry["name"], entry["key"])
        for variable in found.env
        if (entry := (variable.get("valueFrom") or {}).get("secretKeyRef"))
    }
    assert keys == {
        "AZURE_CLIENT_ID": ("a", "AZ_CLIENT_ID"),
        "AZURE_CLIENT_SECRET": ("a", "AZ_CLIENT_SECRET"),
        "AZURE_TENANT_ID": ("a", "AZ_TENANT_ID"),
        "AZURE_STORAGE_ACCESS_KEY": ("k", "AZURE_STORAGE_ACCESS_KEY"),
        "HF_TOKEN": ("h", "HF_TOKEN"),
        "MODELSCOPE_API_TOKEN": ("m", "MODELSCOPE_API_TOKEN"),
        "GIT_USERNAME": ("g", "GIT_USERNAME"),
        "GIT_PASSWORD": ("g", "GIT_PASSWORD"),
        "AWS_ACCESS_KEY_ID": ("s", "awsAccessKeyID"),
        "AWS_SECRET_ACCESS_KEY": ("s", "awsSecretAccessKey"),
        "models.example.com-headers": ("w", "headers"),
    }
    places = {mount["name"]: mount["mountPath"] for mount in found.mounts}
    assert places == {
        "hdfs-secrets": "/var/secrets/kserve-hdfscreds",
        "oci-fetch-auth": "/mnt/oci-fetch-auth",
    }
    assert {"name": "KSERVE_OCI_DOCKER_CONFIG", "value": "/mnt/oci-fetch-auth/config.json"} in (
        list(found.env)
    )


def test_a_secret_that_is_not_there_is_named_as_the_service_names_it() -> None:
    with pytest.raises(StorageNotFound, match=r'storage\.key: secret "mine" is not there'):
        from_storage_config(None, "k", {}, title="mine")
    with pytest.raises(StorageNotFound, match=r'storage\.key: secret "mine" has no key "k"'):
        from_storage_config(secret("mine", other="{}"), "k", {}, title="mine")


def test_an_entry_of_storage_config_says_which_store_it_is() -> None:
    entry = secret("storage-config", mine='{"type": "s3", "bucket": "data"}', default_hdfs="{}")
    model = {"modelFormat": {"name": "sklearn"}, "storage": {"key": "mine", "path": "a/b"}}
    isvc = service(predictor={"model": model})
    pod = predictor(isvc, from_storage_config(entry, "mine", {}))["spec"]
    assert pod["initContainers"][0]["args"][0] == "s3://data/a/b"
    named = {"type": "hdfs"}
    found = from_storage_config(entry, "", named)
    assert found.env[0]["valueFrom"]["secretKeyRef"]["key"] == "default_hdfs"
    pod = predictor(isvc, found)["spec"]
    assert pod["initContainers"][0]["args"][0] == "hdfs://a/b"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"type": "ftp"}, "storage.parameters.type: ftp is not supported; one of s3"),
        ({"type": "s3"}, "storage.parameters.bucket: is missing; name it there"),
    ],
)
def test_what_a_stored_model_lacks_is_named(parameters: dict[str, str], said: str) -> None:
    storage = {"path": "a/b", "parameters": parameters}
    model = {"modelFormat": {"name": "sklearn"}, "storage": storage}
    with pytest.raises(StorageNotFound, match=said):
        predictor(service(predictor={"model": model}))


def test_a_transformer_and_an_explainer_may_read_models_of_their_own() -> None:
    container = {"containers": [{"image": "mine"}]}
    own = [{"uri": "gs://bucket/words", "mountPath": "/mnt/words"}]
    art = {"type": "SquareAttack", "storageUri": "gs://bucket/art"}
    isvc = service(
        predictor={"sklearn": {"storageUri": "gs://bucket/iris"}},
        transformer={**container, "storageUris": own},
        explainer={"art": art},
    )
    pod = templates.transformer(isvc)["spec"]
    assert pod["initContainers"][0]["args"] == ["gs://bucket/words", "/mnt/words"]
    assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == "/mnt/words"
    pod = templates.explainer(isvc)["spec"]
    assert pod["initContainers"][0]["args"] == ["gs://bucket/art", "/mnt/models"]


def test_an_image_of_the_nodes_is_mounted() -> None:
    model = {"storageUri": "oci+native://registry/team/net:v1"}
    pod = predictor(service(predictor={"sklearn": model}))["spec"]
    assert "initContainers" not in pod
    reference = {"reference": "registry/team/net:v1"}
    assert pod["volumes"][0] == {"name": "model-image-0", "image": reference}
    assert pod["containers"][0]["volumeMounts"][0]["subPath"] == "models"


def test_requests_are_recorded_where_the_logger_says() -> None:
    for url, volume in (
        (None, {"emptyDir": {"sizeLimit": "64Mi"}}),
        ("file:///logs", {"hostPath": {"path": "/logs", "type": "DirectoryOrCreate"}}),
        ("pvc://claim", {"persistentVolumeClaim": {"claimName": "claim"}}),
    ):
        logger = {"url": url} if url else {}
        model = {"storageUri": "gs://b/m"}
        pod = predictor(service(predictor={"sklearn": model, "logger": logger}))["spec"]
        assert {"name": "request-log", **volume} in pod["volumes"]
        assert "--request_log=/mnt/request-log" in pod["containers"][0]["args"]
    model = {"storageUri": "gs://b/m"}
    sink = {"url": "http://sink/", "mode": "request"}
    pod = predictor(service(predictor={"sklearn": model, "logger": sink}))["spec"]
    assert pod["containers"][0]["args"][-2:] == ["--request_log=http://sink/", "--log_mode=request"]


def test_an_annotation_keeps_a_model_from_being_converted_to_onnx() -> None:
    isvc = service()
    assert "--convert_to_onnx=" in predictor(isvc)["spec"]["containers"][0]["args"]
    annotations = isvc["metadata"].setdefault("annotations", {})
    annotations["serving.kubeling.io/convert-to-onnx"] = "false"
    assert "--convert_to_onnx=false" in predictor(isvc)["spec"]["containers"][0]["args"]


def annotated(notes: dict[str, str], **spec: Any) -> Obj:
    isvc = service(**spec)
    isvc["metadata"].setdefault("annotations", {}).update(notes)
    return isvc


def _agent_of(pod: Obj) -> Obj:
    return next(c for c in pod["containers"] if c["name"] == "request-agent")


def test_an_agent_stands_in_front_of_a_container_whose_requests_are_recorded() -> None:
    logger = {"url": "http://sink/", "metadataHeaders": ["X-User"], "metadataAnnotations": ["team"]}
    own = {"containers": [{"image": "mine", "ports": [{"containerPort": 5000}]}], "logger": logger}
    notes = {"team": "a", "serving.kubeling.io/log-failures": "true"}
    template = predictor(annotated(notes, predictor=own))
    agent = _agent_of(template["spec"])
    assert serving_port(template) == 9081
    assert agent["args"][0] == "--target=http://$(POD_IP):5000"
    told = json.loads(agent["args"][-1].removeprefix("--logger="))
    assert told == {
        "url": "http://sink/",
        "metadataHeaders": ["X-User"],
        "annotations": {"team": "a"},
        "failures": True,
    }
    own["containers"][0]["ports"][0]["name"] = "h2c"
    template = predictor(annotated(notes, predictor=own))
    assert [c["name"] for c in template["spec"]["containers"]] == ["kserve-container"]
    assert serving_port(template) == 5000, "an agent could not pass gRPC on"
    quiet = {"containers": [{"image": "mine", "ports": [{"containerPort": 5000}]}]}
    assert serving_port(predictor(service(predictor=quiet))) == 5000


def test_files_of_the_way_to_a_log_are_apart_from_the_models() -> None:
    keys = {"AWS_CA_BUNDLE_CONFIGMAP": "authority", "gcloud-application-credentials.json": "{}"}
    access = from_secrets([secret("store", **S3_KEYS, **keys)])
    spec = {"sklearn": {"storageUri": "s3://b/m"}, "logger": {"url": "s3://logs/here"}}
    pod = predictor(service(predictor=spec), access, access)["spec"]
    volumes = [volume["name"] for volume in pod["volumes"]]
    assert len(set(volumes)) == len(volumes)
    main = pod["containers"][0]
    places = {m["mountPath"]: m["name"] for m in main["volumeMounts"] if m["name"] in volumes}
    for variable in ("LOGGER_AWS_CA_BUNDLE", "LOGGER_GOOGLE_APPLICATION_CREDENTIALS"):
        folder = env(main)[variable].rpartition("/")[0]
        assert places[folder].startswith("logger-")


def test_a_log_in_a_bucket_has_a_way_of_its_own() -> None:
    logger = {
        "url": "s3://logs/here",
        "storage": {"path": "p", "key": "k", "parameters": {"format": "parquet"}},
        "batchSize": 10,
        "batchInterval": "5s",
    }
    reference = {"secretKeyRef": {"name": "storage-config", "key": "k"}}
    access = Access([{"name": "STORAGE_CONFIG", "valueFrom": reference}])
    spec = {"sklearn": {"storageUri": "gs://b/m"}, "logger": logger}
    main = predictor(service(predictor=spec), recording=access)["spec"]["containers"][0]
    assert {"name": "LOGGER_STORAGE_CONFIG", "valueFrom": reference} in main["env"]
    told = json.loads(main["args"][-1].removeprefix("--logger="))
    assert told == {
        "url": "s3://logs/here",
        "path": "p",
        "format": "parquet",
        "batchSize": 10,
        "batchInterval": 5.0,
    }


def test_a_monitored_model_is_sampled_by_its_server_or_its_agent() -> None:
    on = {"serving.kubeling.io/monitoring": "true"}
    model = {"sklearn": {"storageUri": "gs://b/m"}}
    main = predictor(annotated(on, predictor=model))["spec"]["containers"][0]
    assert main["args"][-1] == "--monitor=true"
    own = {"containers": [{"image": "mine"}]}
    agent = _agent_of(predictor(annotated(on, predictor=own))["spec"])
    assert agent["args"][-1] == "--monitor=true"


def test_requests_are_merged_by_the_server_or_by_an_agent() -> None:
    batcher = {"maxBatchSize": 8, "maxLatency": 50}
    flags = ["--max_batch_size=8", "--max_latency=50", "--batch_timeout=600"]
    model = {"sklearn": {"storageUri": "gs://b/m"}, "batcher": batcher}
    assert predictor(service(predictor=model))["spec"]["containers"][0]["args"][-3:] == flags
    own = {"containers": [{"image": "mine"}], "batcher": batcher}
    assert _agent_of(predictor(service(predictor=own))["spec"])["args"][-3:] == flags


def test_servers_are_told_of_timeouts_longer_than_the_usual() -> None:
    def told(**fields: Any) -> Any:
        isvc = service(predictor={"containers": [{"image": "mine"}], **fields})
        return env(predictor(isvc)["spec"]["containers"][0]).get("SERVING_TIMEOUT")

    assert told(timeout=3600) == "3600"
    assert told(timeout=60) is None
    assert told() is None
