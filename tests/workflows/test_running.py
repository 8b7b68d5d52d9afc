"""Workflows on a real server and a real node."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.workflows.conftest import Cluster, cluster_in

from kubeling.kube import yaml
from kubeling.kube.errors import Invalid
from kubeling.kube.objects import Obj
from kubeling.kube.resources import NAMESPACES, PERSISTENT_VOLUME_CLAIMS, PODS, Resource
from kubeling.workflows.resources import WORKFLOW_TEMPLATES, WORKFLOWS
from kubeling.workflows.stages import workflow_from_stages

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "workflows").glob("*.yaml"))
DOCUMENTS = {path.stem: yaml.load_all(path.read_text()) for path in EXAMPLES}

SEEDS = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata:
  name: ml-pipeline
spec:
  entrypoint: train-model
  templates:
  - name: train-model
    container:
      image: tensorflow/tensorflow:latest
      command: [python, train.py]
---
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata:
  name: custom-ml-workflow
spec:
  templates:
  - name: custom-component
    container:
      image: my-custom-ml-image
      command: [python, custom_script.py]
"""

SEED_WORKFLOW = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata:
  name: ml-pipeline
spec:
  entrypoint: train-model
  templates:
  - name: train-model
    container:
      image: python:3.11
      command: [python, train.py]
"""


def nodes(workflow: Obj) -> dict[str, Obj]:
    """A workflow's nodes by displayed name."""
    return {node["displayName"]: node for node in workflow["status"]["nodes"].values()}


def script(source: str, **more: object) -> Obj:
    """A workflow of one bash script."""
    template = {
        "name": "main",
        "script": {"image": "bash", "command": ["bash"], "source": source},
        **more,
    }
    return workflow(template)


def workflow(*templates: Obj, **spec: object) -> Obj:
    """A workflow whose first template is its entrypoint."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "wf-"},
        "spec": {"entrypoint": templates[0]["name"], "templates": list(templates), **spec},
    }


async def test_a_manifest_without_container_name_runs_the_script_in_the_workspace(
    cluster: Cluster,
) -> None:
    (cluster.workspace / "train.py").write_text("print('trained')")
    done = await cluster.run(yaml.load(SEED_WORKFLOW))
    assert done["status"]["phase"] == "Succeeded"
    assert done["status"]["progress"] == "1/1"
    assert done["metadata"]["labels"]["workflows.argoproj.io/phase"] == "Succeeded"
    conditions = {c["type"]: c["status"] for c in done["status"]["conditions"]}
    assert conditions == {"PodRunning": "False", "Completed": "True"}


@pytest.mark.parametrize("example", DOCUMENTS)
async def test_every_example_succeeds(cluster: Cluster, example: str) -> None:
    (cluster.workspace / "custom_script.py").write_text("print('custom')")
    for document in DOCUMENTS[example]:
        if document["kind"] == "WorkflowTemplate":
            await cluster.client.create(WORKFLOW_TEMPLATES, document, "default")
        else:
            done = await cluster.run(document)
            assert done["status"]["phase"] == "Succeeded", done["status"]


async def test_manifests_as_users_write_them_are_accepted(cluster: Cluster) -> None:
    kinds = {"Workflow": WORKFLOWS, "WorkflowTemplate": WORKFLOW_TEMPLATES}
    for document in yaml.load_all(SEEDS):
        resource = kinds[document["kind"]]
        created = await cluster.client.create(resource, document, "default", dry_run=True)
        assert created["spec"]["templates"][0]["container"]["name"] == "main"


async def test_values_of_any_size_come_out_of_a_step(cluster: Cluster) -> None:
    done = await cluster.run(
        workflow(
            {"name": "main", "steps": [[{"name": "make", "template": "make"}], [
                {"name": "count", "template": "count", "arguments": {"parameters": [
                    {"name": "list", "value": "{{steps.make.outputs.result}}"},
                    {"name": "big", "value": "{{steps.make.outputs.parameters.big}}"},
                ]}},
            ]]},
            {
                "name": "make",
                "outputs": {"parameters": [{"name": "big", "valueFrom": {"path": "/tmp/big"}}]},
                "script": {
                    "image": "python",
                    "command": ["python"],
                    "source": "print(list(range(5000)))\nopen('/tmp/big', 'w').write('ü' * 5000)",
                },
            },
            {
                "name": "count",
                "inputs": {"parameters": [{"name": "list"}, {"name": "big"}]},
                "outputs": {"parameters": [{"name": "n", "valueFrom": {"path": "/tmp/n"}}]},
                "script": {
                    "image": "python",
                    "command": ["python"],
                    "source": (
                        "n = sum({{inputs.parameters.list}}) + len('{{inputs.parameters.big}}')\n"
                        "open('/tmp/n', 'w').write(str(n))"
                    ),
                },
            },
        )
    )  # fmt: skip
    assert done["status"]["phase"] == "Succeeded", done["status"]
    assert nodes(done)["count"]["outputs"]["parameters"][0]["value"] == str(12497500 + 5000)


async def test_a_failure_says_why(cluster: Cluster) -> None:
    done = await cluster.run(script("echo oops >&2; exit 42"))
    assert done["status"]["phase"] == "Failed"
    assert done["status"]["message"] == "main: Error (exit code 42)"
    node = next(iter(done["status"]["nodes"].values()))
    assert node["outputs"]["exitCode"] == "42"
    told = await cluster.event("WorkflowNodeFailed")
    assert told["message"] == f"Failed node {done['metadata']['name']}: main: Error (exit code 42)"
    event = await cluster.event("WorkflowFailed")
    assert event["message"] == "main: Error (exit code 42)"
    assert event["involvedObject"]["name"] == done["metadata"]["name"]


async def test_a_missing_template_ends_the_workflow_with_its_name(cluster: Cluster) -> None:
    body = workflow({"name": "unused", "suspend": {}})
    body["spec"] = {"workflowTemplateRef": {"name": "nowhere"}}
    done = await cluster.run(body)
    assert done["status"]["phase"] == "Error"
    assert done["status"]["message"] == 'workflowtemplates.argoproj.io "nowhere" not found'


async def test_a_wrong_manifest_is_refused_with_the_fields_path(cluster: Cluster) -> None:
    body = workflow({"name": "main", "container": {"image": "x", "comand": ["y"]}})
    body["spec"]["entrypoint"] = "other"
    with pytest.raises(Invalid, match=r"spec\.entrypoint: Not found"):
        await cluster.client.create(WORKFLOWS, body, "default")


async def test_a_waiting_workflow_goes_on_when_its_node_is_resumed(cluster: Cluster) -> None:
    steps = [[{"name": "wait", "template": "wait"}], [{"name": "go", "template": "go"}]]
    body = workflow(
        {"name": "main", "steps": steps},
        {"name": "wait", "suspend": {}},
        {"name": "go", "container": {"image": "bash", "command": ["true"]}},
    )
    created = await cluster.client.create(WORKFLOWS, body, "default")
    name = created["metadata"]["name"]
    waiting = await cluster.seen(name, lambda wf: "wait" in nodes(wf))
    node = nodes(waiting)["wait"]
    patch = {"nodes": {node["id"]: {"phase": "Succeeded"}}}
    await cluster.client.patch_status(WORKFLOWS, name, patch, "default")
    done = await cluster.ended(name)
    assert done["status"]["phase"] == "Succeeded"


async def test_termination_stops_what_runs(cluster: Cluster) -> None:
    created = await cluster.client.create(WORKFLOWS, script("sleep 600"), "default")
    name = created["metadata"]["name"]
    await cluster.seen(name, lambda wf: any(n["phase"] == "Running" for n in nodes(wf).values()))
    await cluster.client.patch(WORKFLOWS, name, {"spec": {"shutdown": "Terminate"}}, "default")
    done = await cluster.ended(name)
    assert done["status"]["phase"] == "Failed"
    assert done["status"]["message"] == "Stopped with strategy 'Terminate'"
    await cluster.gone(PODS)


async def test_a_finished_workflow_is_deleted_when_its_time_is_over(cluster: Cluster) -> None:
    body = script("true")
    body["spec"]["ttlStrategy"] = {"secondsAfterCompletion": 0}
    body["spec"]["podGC"] = {"strategy": "OnWorkflowCompletion"}
    await cluster.client.create(WORKFLOWS, body, "default")
    await cluster.gone(WORKFLOWS)


async def test_stages_run_in_order_and_share_a_folder(cluster: Cluster) -> None:
    space = cluster.workspace
    (space / "prepare_data.py").write_text("open('/shared/data', 'w').write('42')")
    (space / "train.sh").write_text('cat "$SHARED_DIR/data" >/shared/model')
    document = {"stages": ["prepare-data", "train"]}
    done = await cluster.run(workflow_from_stages(document, space))
    assert done["status"]["phase"] == "Succeeded", done["status"]
    key = done["status"]["outputs"]["artifacts"][0]["s3"]["key"]
    assert (cluster.artifacts / "default" / key / "model").read_text() == "42"


def _finished(workflow: Obj) -> int:
    return int(workflow["status"]["progress"].partition("/")[0])


async def test_controllers_killed_again_and_again_run_every_step_once(tmp_path: Path) -> None:
    body = workflow(
        {"name": "main", "steps": [
            [{"name": "each", "template": "once", "withSequence": {"count": "12"},
              "arguments": {"parameters": [{"name": "n", "value": "{{item}}"}]}}],
            [{"name": "last", "template": "once",
              "arguments": {"parameters": [
                  {"name": "n", "value": "{{=len(fromJSON(steps.each.outputs.result)) + 100}}"},
              ]}}],
        ]},
        {"name": "once", "inputs": {"parameters": [{"name": "n"}]}, "script": {
            "image": "bash",
            "command": ["bash"],
            "source": "echo {{inputs.parameters.n}} | tee -a runs; sleep 0.05",
        }},
        parallelism=3,
    )  # fmt: skip
    async with cluster_in(tmp_path) as cluster:
        created = await cluster.client.create(WORKFLOWS, body, "default")
        name = created["metadata"]["name"]
        for finished in (1, 4, 7, 11):
            async with cluster.controllers():
                await cluster.seen(name, lambda wf, n=finished: _finished(wf) >= n)
        async with cluster.controllers():
            done = await cluster.ended(name)
        assert done["status"]["phase"] == "Succeeded", done["status"]
        runs = sorted((cluster.workspace / "runs").read_text().split(), key=int)
        assert runs == [*map(str, range(12)), "112"]


async def test_a_workflow_can_be_given_labels_that_are_computed(cluster: Cluster) -> None:
    body = script("true")
    body["spec"]["arguments"] = {"parameters": [{"name": "model", "value": "resnet"}]}
    body["spec"]["workflowMetadata"] = {
        "labels": {"team": "vision"},
        "labelsFrom": {"model": {"expression": "workflow.parameters.model"}},
    }
    done = await cluster.run(body)
    assert done["metadata"]["labels"]["team"] == "vision"
    assert done["metadata"]["labels"]["model"] == "resnet"


async def test_a_step_that_takes_too_long_is_stopped(cluster: Cluster) -> None:
    done = await cluster.run(script("sleep 600", timeout="1s"))
    assert done["status"]["phase"] == "Failed"
    assert done["status"]["message"] == "Step exceeded its deadline"


async def test_a_step_that_hands_over_its_result_logs_as_ever(cluster: Cluster) -> None:
    done = await cluster.run(
        workflow(
            {"name": "main", "steps": [
                [{"name": "say", "template": "say"}],
                [{"name": "no", "template": "say", "when": "'{{steps.say.outputs.result}}' == ''"}],
            ]},
            {"name": "say", "script": {
                "image": "bash", "command": ["bash"], "source": "echo out; echo err >&2",
            }},
        )
    )  # fmt: skip
    say = nodes(done)["say"]
    assert say["outputs"] == {"result": "out", "exitCode": "0"}
    pods = (await cluster.client.list(PODS, "default")).items
    assert sorted((await cluster.log(pods[0]["metadata"]["name"])).split()) == ["err", "out"]


async def test_daemons_sidecars_and_container_sets_run_as_they_say(cluster: Cluster) -> None:
    serve = ["python3", "-c", SERVER]
    ask = "until cat {folder}/said >/dev/null 2>&1; do sleep 0.05; done; cat {folder}/said"
    folder = cluster.workspace
    done = await cluster.run(
        workflow(
            {"name": "main", "steps": [
                [{"name": "server", "template": "server"}],
                [{"name": "set", "template": "set"}, {"name": "pair", "template": "pair"}],
            ]},
            {"name": "server", "daemon": True, "container": {
                "image": "python", "command": serve, "args": [str(folder / "up")],
                "readinessProbe": {"exec": {"command": ["test", "-e", str(folder / "up")]},
                                   "periodSeconds": 1},
            }},
            {"name": "set", "containerSet": {"containers": [
                {"name": "a", "image": "busybox", "command": ["sh", "-c", f"test -e {folder}/up"]},
                {"name": "main", "image": "busybox", "dependencies": ["a"],
                 "command": ["sh", "-c", "echo ok >/tmp/ok"]},
            ]}, "outputs": {"parameters": [{"name": "ok", "valueFrom": {"path": "/tmp/ok"}}]}},
            {"name": "pair",
             "container": {"image": "busybox",
                           "command": ["sh", "-c", ask.format(folder=folder)]},
             "sidecars": [{"name": "beside", "image": "busybox",
                           "command": ["sh", "-c", f"echo hi >{folder}/said; sleep 1000"]}]},
            podSpecPatch="terminationGracePeriodSeconds: 1",
        )
    )  # fmt: skip
    assert done["status"]["phase"] == "Succeeded", done["status"]
    assert nodes(done)["server"]["phase"] == "Succeeded"
    assert nodes(done)["set"]["outputs"]["parameters"][0]["value"] == "ok"
    assert nodes(done)["a"]["type"] == "Container"
    for pod in (await cluster.client.list(PODS, "default")).items:
        await cluster.over(pod["metadata"]["name"])


SERVER = "import signal, sys; open(sys.argv[1], 'w'); signal.pause()"


async def test_pods_go_when_podgc_says_so(cluster: Cluster) -> None:
    def leaf(name: str, command: str, **labels: str) -> Obj:
        container = {"image": "busybox", "command": [command]}
        return {"name": name, "metadata": {"labels": labels}, "container": container}

    body = workflow(
        {"name": "main", "steps": [
            [{"name": "good", "template": "good"}, {"name": "kept", "template": "kept"},
             {"name": "bad", "template": "bad", "continueOn": {"failed": True}}],
            [{"name": "wait", "template": "wait"}],
        ]},
        leaf("good", "true", goes="yes"),
        leaf("kept", "true"),
        leaf("bad", "false", goes="yes"),
        {"name": "wait", "suspend": {}},
        podGC={
            "strategy": "OnPodSuccess",
            "deleteDelayDuration": "0s",
            "labelSelector": {"matchLabels": {"goes": "yes"}},
        },
    )  # fmt: skip
    created = await cluster.client.create(WORKFLOWS, body, "default")
    name = created["metadata"]["name"]
    await cluster.seen(name, lambda wf: "wait" in nodes(wf))
    await cluster.gone(PODS, labels="goes=yes", keep=1)
    left = [pod["metadata"]["name"] for pod in (await cluster.client.list(PODS, "default")).items]
    assert sorted(pod.split("-")[-2] for pod in left) == ["bad", "kept"]
    await cluster.client.patch(WORKFLOWS, name, {"spec": {"shutdown": "Stop"}}, "default")
    await cluster.ended(name)


async def test_claims_and_budgets_live_as_long_as_the_workflow(cluster: Cluster) -> None:
    claim = {
        "metadata": {"name": "work"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    body = workflow(
        {"name": "main", "suspend": {}},
        volumeClaimTemplates=[claim],
        podDisruptionBudget={"minAvailable": 1},
    )
    created = await cluster.client.create(WORKFLOWS, body, "default")
    name = created["metadata"]["name"]
    seen = await cluster.seen(name, lambda wf: wf["status"].get("persistentVolumeClaims"))
    assert seen["status"]["persistentVolumeClaims"] == [
        {"name": "work", "persistentVolumeClaim": {"claimName": f"{name}-work"}}
    ]
    budget = await cluster.client.get(BUDGETS, name, "default")
    assert budget["spec"]["selector"]["matchLabels"] == {"workflows.argoproj.io/workflow": name}
    await cluster.client.patch(WORKFLOWS, name, {"spec": {"shutdown": "Stop"}}, "default")
    await cluster.ended(name)
    await cluster.gone(BUDGETS)
    found = await cluster.client.list(PERSISTENT_VOLUME_CLAIMS, "default")
    assert len(found.items) == 1, "volumeClaimGC is OnWorkflowSuccess unless it says otherwise"


BUDGETS = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")


async def test_logs_are_kept_as_artifacts_where_the_workflow_wants_it(cluster: Cluster) -> None:
    body = script("echo to stdout; echo to stderr >&2; exit 1")
    body["spec"]["archiveLogs"] = True
    done = await cluster.run(body)
    name = done["metadata"]["name"]
    [node] = done["status"]["nodes"].values()
    [logs] = node["outputs"]["artifacts"]
    assert (logs["name"], logs["s3"]) == ("main-logs", {"key": f"{name}/{name}/main.log"})
    kept = (cluster.artifacts / "default" / logs["s3"]["key"]).read_text()
    assert sorted(kept.splitlines()) == ["to stderr", "to stdout"]
    assert "to stdout" in await cluster.log(name)


async def test_a_step_may_say_how_far_it_is(cluster: Cluster) -> None:
    body = script(
        'echo 40/100 >"$ARGO_PROGRESS_FILE"; until [ -e go ]; do sleep 0.1; done; '
        'echo nonsense >"$ARGO_PROGRESS_FILE"'
    )
    created = await cluster.client.create(WORKFLOWS, body, "default")
    name = created["metadata"]["name"]
    await cluster.seen(name, lambda wf: wf["status"].get("progress") == "40/100")
    (cluster.workspace / "go").touch()
    done = await cluster.ended(name)
    assert (done["status"]["phase"], done["status"]["progress"]) == ("Succeeded", "100/100")


async def test_what_can_never_begin_is_an_error_at_once(cluster: Cluster) -> None:
    enforced = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    await cluster.client.patch(NAMESPACES, "default", enforced)
    done = await cluster.run(script("true"))
    assert done["status"]["phase"] == "Error"
    assert 'violates PodSecurity "restricted:latest"' in done["status"]["message"]


async def test_a_claim_that_cannot_be_made_ends_the_workflow(cluster: Cluster) -> None:
    body = script("true")
    claim = {"metadata": {"name": "work"}, "spec": {"accessModes": ["Sometimes"]}}
    body["spec"]["volumeClaimTemplates"] = [claim]
    done = await cluster.run(body)
    assert done["status"]["phase"] == "Error"
    assert done["status"]["message"].startswith("pvc create error: ")
    assert done["status"]["startedAt"]
    told = await cluster.event("WorkflowFailed")
    assert told["message"] == done["status"]["message"]
    await cluster.event("WorkflowRunning")


async def test_the_mode_of_an_artifact_may_be_that_of_all_its_files(cluster: Cluster) -> None:
    folder = cluster.artifacts / "default" / "tools" / "bin"
    folder.mkdir(parents=True)
    (folder / "say").write_text("#!/bin/sh\necho hi\n")
    tools = {
        "name": "tools",
        "path": "/tmp/tools",
        "mode": 0o755,
        "recurseMode": True,
        "s3": {"key": "tools"},
    }
    body = script("/tmp/tools/bin/say")
    body["spec"]["templates"][0]["inputs"] = {"artifacts": [tools]}
    done = await cluster.run(body)
    assert done["status"]["phase"] == "Succeeded", done["status"]
