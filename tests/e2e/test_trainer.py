"""TrainJobs on a real platform: what upstream's end-to-end tests ask, and what they do not.

Every promise is kept by real processes; nothing but what kubectl shows is looked at.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.support.platform import Platform, started

pytestmark = pytest.mark.e2e

Obj = dict[str, Any]
GROUP = "trainer.kubeflow.org/v1alpha1"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    workspace = tmp_path_factory.mktemp("trainer") / "workspace"
    workspace.mkdir()
    with started(tmp_path_factory.mktemp("data") / "d", workspace) as running:
        yield running


def apply(platform: Platform, *objects: Obj, check: bool = True) -> str:
    """What kubectl says, errors and warnings included."""
    text = yaml.safe_dump_all(objects)
    done = platform.run("kubectl", "apply", "-f", "-", stdin=text, check=check)
    return done.stdout + done.stderr


def train_job(name: str, runtime: str = "jax-distributed", **spec: Any) -> Obj:
    content = {"runtimeRef": {"name": runtime}, **spec}
    return {"apiVersion": GROUP, "kind": "TrainJob", "metadata": {"name": name}, "spec": content}


def runtime(name: str, *jobs: Obj, policy: Obj | None = None, **template: Any) -> Obj:
    spec = {"mlPolicy": policy or {"numNodes": 1}}
    spec["template"] = {"spec": {"replicatedJobs": list(jobs), **template}}
    return {
        "apiVersion": GROUP,
        "kind": "TrainingRuntime",
        "metadata": {"name": name},
        "spec": spec,
    }


def job(name: str, step: str, script: str, *, attempts: int = 0, **container: Any) -> Obj:
    labels = {"trainer.kubeflow.org/trainjob-ancestor-step": step}
    content = {"name": name, "image": "busybox", "command": ["sh", "-c", script], **container}
    pod = {"restartPolicy": "Never", "containers": [content]}
    spec = {"backoffLimit": attempts, "template": {"spec": pod}}
    return {"name": name, "replicas": 1, "template": {"metadata": {"labels": labels}, "spec": spec}}


def shell(script: str, **trainer: Any) -> Obj:
    return {"image": "busybox", "command": ["sh", "-c", script], **trainer}


def has(condition: str) -> Any:
    def holds(obj: Obj) -> bool:
        conditions = (obj.get("status") or {}).get("conditions") or ()
        return any(c["type"] == condition and c["status"] == "True" for c in conditions)

    return holds


def complete(platform: Platform, *names: str) -> Obj:
    """The last of the TrainJobs, all of which complete; one that fails is not waited for."""
    done: Obj = {}
    for name in names:
        done = platform.until(
            lambda t: has("Complete")(t) or has("Failed")(t), "trainjob", name, timeout=300
        )
        assert has("Complete")(done), done["status"]
    return done


def pods(platform: Platform, of: str) -> list[Obj]:
    selector = f"jobset.sigs.k8s.io/jobset-name={of}"
    found: list[Obj] = json.loads(
        platform.kubectl("get", "pods", "-l", selector, "-o", "json", "--sort-by=.metadata.name")
    )["items"]
    return found


def logs(platform: Platform, of: str) -> str:
    selector = f"jobset.sigs.k8s.io/jobset-name={of}"
    return platform.kubectl("logs", "-l", selector, "--tail=-1", "--prefix")


def local(job: Obj) -> Obj:
    job["spec"]["runtimeRef"]["kind"] = "TrainingRuntime"
    return job


# --- from beginning to end ---------------------------------------------------------------------


def test_a_train_job_runs_on_its_nodes_and_says_where_it_stands(platform: Platform) -> None:
    script = "echo node $JAX_PROCESS_ID of $JAX_NUM_PROCESSES at $(hostname)"
    apply(platform, train_job("two", trainer=shell(script, numNodes=2)))
    done = complete(platform, "two")
    (condition,) = done["status"]["conditions"]
    assert condition["reason"] == "AllJobsCompleted"
    assert condition["message"] == "jobset completed successfully"
    counts = {"ready": 0, "succeeded": 1, "failed": 0, "active": 0, "suspended": 0}
    assert done["status"]["jobsStatus"] == [{"name": "node", **counts}]
    said = logs(platform, "two")
    assert "node 0 of 2 at two-node-0-0" in said
    assert "node 1 of 2 at two-node-0-1" in said
    assert "Complete" in platform.kubectl("get", "trainjob", "two")
    assert "Completed" in platform.kubectl("get", "jobset", "two")


def test_deleting_a_train_job_takes_all_of_it_away(platform: Platform) -> None:
    apply(platform, train_job("brief", trainer=shell("sleep 600")))
    platform.until(lambda t: t["status"].get("phase") == "Running", "trainjob", "brief")
    platform.kubectl("delete", "trainjob", "brief", "--cascade=foreground", "--wait")
    left = platform.kubectl("get", "jobset,job,service,configmap", "-o", "name")
    assert "brief" not in left


def test_a_failure_is_told_with_the_pod_and_its_last_words(platform: Platform) -> None:
    apply(platform, train_job("broken", trainer=shell("echo out of luck; exit 3")))
    failed = platform.until(has("Failed"), "trainjob", "broken")
    message = failed["status"]["conditions"][0]["message"]
    assert "first failed job: broken-node-0" in message
    assert "failed with exit code 3 (out of luck)" in message


def test_what_a_job_waits_for_is_an_event(platform: Platform) -> None:
    gpu = {"limits": {"nvidia.com/gpu": 1}}
    apply(platform, train_job("greedy", trainer=shell("true", resourcesPerNode=gpu)))
    event = platform.until(
        lambda event: event["reason"] == "PodsWaiting", "event", _event_name(platform, "greedy")
    )
    assert "Unschedulable" in event["message"]
    assert event["firstTimestamp"]
    platform.kubectl("delete", "trainjob", "greedy")


def _event_name(platform: Platform, of: str) -> str:
    """The name of the event about pods that wait, once there is one."""
    only = f"involvedObject.name={of},reason=PodsWaiting"
    command = ("get", "event", "--field-selector", only, "-o", "name")
    platform.kubectl("wait", "--for=create", "event", "--field-selector", only, "--timeout=60s")
    return platform.kubectl(*command).splitlines()[0].partition("/")[2]


# --- refused, warned ---------------------------------------------------------------------------


def test_a_job_on_no_runtime_is_refused(platform: Platform) -> None:
    said = apply(platform, train_job("lost", "flame-distributed"), check=False)
    assert "the runtime must be created before the TrainJob is" in said


def test_a_deprecated_runtime_is_a_warning(platform: Platform) -> None:
    old = runtime("old", job("node", "trainer", "true"))
    old["metadata"]["labels"] = {"trainer.kubeflow.org/support": "deprecated"}
    apply(platform, old)
    said = apply(platform, local(train_job("on-old", "old")))
    assert 'Warning: Referenced TrainingRuntime "old" is deprecated' in said


def test_flux_is_refused(platform: Platform) -> None:
    flux = runtime("flux", job("node", "trainer", "true"), policy={"flux": {}})
    assert "Warning: spec.mlPolicy.flux" in apply(platform, flux)
    said = apply(platform, local(train_job("on-flux", "flux")), check=False)
    assert "mlPolicy.flux is not supported" in said


def test_a_job_of_another_controller_is_left_alone(platform: Platform) -> None:
    apply(platform, train_job("theirs", managedBy="kueue.x-k8s.io/multikueue"))
    # What is created later and has ended was surely looked at later.
    apply(platform, train_job("ours", trainer=shell("true")))
    complete(platform, "ours")
    assert "status" not in platform.object("trainjob", "theirs")
    assert "theirs" not in platform.kubectl("get", "jobsets", "-o", "name")


# --- deadlines, suspension, runtimes that change -----------------------------------------------


def test_a_deadline_ends_the_job_and_takes_its_jobset_away(platform: Platform) -> None:
    apply(platform, train_job("late", trainer=shell("sleep 600"), activeDeadlineSeconds=1))
    failed = platform.until(has("Failed"), "trainjob", "late")
    assert failed["status"]["conditions"][0]["reason"] == "DeadlineExceeded"
    platform.kubectl("wait", "--for=delete", "jobset/late", "--timeout=60s")


def test_a_suspended_job_waits_and_takes_patches(platform: Platform) -> None:
    apply(platform, train_job("paused", suspend=True, trainer=shell("true")))
    waiting = platform.until(has("Suspended"), "trainjob", "paused")
    assert waiting["status"]["phase"] == "Suspended"
    platform.until(has("Suspended"), "jobset", "paused")
    assert pods(platform, "paused") == []
    template = {"metadata": {"labels": {"zone": "b"}}}
    changed = {"name": "node", "template": {"spec": {"template": template}}}
    patch = {
        "manager": "example.com/queue",
        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [changed]}}},
    }
    body = {"spec": {"suspend": False, "runtimePatches": [patch]}}
    platform.kubectl("patch", "trainjob", "paused", "--type=merge", "-p", json.dumps(body))
    done = complete(platform, "paused")
    assert [(c["type"], c["status"]) for c in done["status"]["conditions"]] == [
        ("Suspended", "False"),
        ("Complete", "True"),
    ]
    assert done["spec"]["runtimePatches"][0]["time"]
    assert pods(platform, "paused")[0]["metadata"]["labels"]["zone"] == "b"


def test_a_running_job_is_stopped_and_goes_on(platform: Platform) -> None:
    script = f"test -e {platform.workspace}/go && exit 0; sleep 600"
    apply(platform, train_job("stopped", trainer=shell(script)))
    platform.until(lambda t: t["status"].get("phase") == "Running", "trainjob", "stopped")
    platform.kubectl("delete", "service", "stopped")
    platform.kubectl("wait", "--for=create", "service/stopped", "--timeout=60s")
    stop = json.dumps({"spec": {"suspend": True}})
    platform.kubectl("patch", "trainjob", "stopped", "--type=merge", "-p", stop)
    platform.until(has("Suspended"), "jobset", "stopped")
    selector = "jobset.sigs.k8s.io/jobset-name=stopped"
    platform.kubectl("wait", "--for=delete", "pod", "-l", selector, "--timeout=60s")
    (platform.workspace / "go").touch()
    platform.kubectl(
        "patch", "trainjob", "stopped", "--type=merge", "-p", '{"spec":{"suspend":false}}'
    )
    complete(platform, "stopped")


def test_a_job_keeps_the_runtime_it_began_with(platform: Platform) -> None:
    first = runtime("changing", job("node", "trainer", "echo first"))
    apply(platform, first, local(train_job("keeper", "changing", suspend=True)))
    platform.until(has("Suspended"), "jobset", "keeper")
    apply(platform, runtime("changing", job("node", "trainer", "echo second")))
    platform.kubectl(
        "patch", "trainjob", "keeper", "--type=merge", "-p", '{"spec":{"suspend":false}}'
    )
    apply(platform, local(train_job("newcomer", "changing")))
    for name, said in (("keeper", "first"), ("newcomer", "second")):
        complete(platform, name)
        assert said in logs(platform, name)


# --- steps, restarts ---------------------------------------------------------------------------


def test_initializers_fetch_what_the_nodes_train_on(platform: Platform) -> None:
    data = platform.workspace / "data"
    data.mkdir()
    (data / "rows.csv").write_text("1,2\n")
    mounts = [{"name": "initializer", "mountPath": "/workspace"}]
    fetch = job("dataset-initializer", "dataset-initializer", "", volumeMounts=mounts)
    container = fetch["template"]["spec"]["template"]["spec"]["containers"][0]
    container["image"] = "ghcr.io/kubeflow/trainer/dataset-initializer"
    del container["command"]
    node = job("node", "trainer", "cat /workspace/dataset/rows.csv", volumeMounts=mounts)
    node["dependsOn"] = [{"name": "dataset-initializer", "status": "Complete"}]
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    template = {"metadata": {"name": "initializer"}, "spec": claim}
    policies = [{"templates": [template], "retentionPolicy": {"whenDeleted": "Delete"}}]
    apply(platform, runtime("with-data", fetch, node, volumeClaimPolicies=policies))
    wanted = {"dataset": {"storageUri": f"file://{data}"}}
    apply(platform, local(train_job("fed", "with-data", initializer=wanted)))
    complete(platform, "fed")
    assert "1,2" in logs(platform, "fed")


CHECKPOINTED = """
at=/checkpoints/step
step=$(cat $at 2>/dev/null || echo 0)
while [ $step -lt 4 ]; do
  step=$((step + 1)); echo $step > $at; echo "trained step $step"
  [ $step = 2 ] && exit 1
done
echo "done at $step"
"""


def test_training_goes_on_from_its_checkpoint_when_all_is_restarted(platform: Platform) -> None:
    mounts = [{"name": "work", "mountPath": "/checkpoints"}]
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    policies = [{"templates": [{"metadata": {"name": "work"}, "spec": claim}]}]
    node = job("node", "trainer", CHECKPOINTED, volumeMounts=mounts)
    restarts = {"maxRestarts": 1}
    made = runtime("resuming", node, volumeClaimPolicies=policies, failurePolicy=restarts)
    apply(platform, made, local(train_job("resumed", "resuming")))
    complete(platform, "resumed")
    assert platform.object("jobset", "resumed")["status"]["restarts"] == 1
    said = logs(platform, "resumed")
    assert "trained step 1" not in said
    assert "trained step 3" in said
    assert "done at 4" in said


def test_a_jobset_goes_after_its_time_and_leaves_the_train_job(platform: Platform) -> None:
    gone = runtime("tidy", job("node", "trainer", "true"), ttlSecondsAfterFinished=0)
    apply(platform, gone, local(train_job("tidied", "tidy")))
    complete(platform, "tidied")
    platform.kubectl("wait", "--for=delete", "jobset/tidied", "--timeout=60s")
    assert has("Complete")(platform.object("trainjob", "tidied"))


# --- progress ----------------------------------------------------------------------------------


REPORT = """
import json, os, time, urllib.error, urllib.request

def post(job, progress):
    url = os.environ["KUBEFLOW_TRAINER_SERVER_URL"].replace("/reporting/", f"/{job}/")
    token = open(os.environ["KUBEFLOW_TRAINER_SERVER_TOKEN"]).read()
    metrics = [{"name": "loss", "value": "0.123"}, {"name": "accuracy", "value": "0.95"}]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    status = {"progressPercentage": progress, "estimatedRemainingSeconds": 120,
              "metrics": metrics, "lastUpdatedTime": now}
    headers = {"Authorization": f"Bearer {token}"}
    body = json.dumps({"trainerStatus": status}).encode()
    try:
        return urllib.request.urlopen(urllib.request.Request(url, body, headers)).status
    except urllib.error.HTTPError as error:
        return error.code

print("own", post("reporting", 42))
print("wrong", post("reporting", 142))
print("other", post("somebody", 1))
print("large", post("reporting", "9" * 70000))
"""


def test_training_reports_its_own_progress_and_no_others(platform: Platform) -> None:
    trainer = {"image": "python:3.11", "command": ["python", "-c", REPORT]}
    apply(
        platform,
        train_job("somebody", suspend=True),
        train_job("reporting", trainer=trainer),
    )
    done = complete(platform, "reporting")
    reported = done["status"]["trainerStatus"]
    assert reported["progressPercentage"] == 42
    assert reported["estimatedRemainingSeconds"] == 120
    assert reported["metrics"] == [
        {"name": "loss", "value": "0.123"},
        {"name": "accuracy", "value": "0.95"},
    ]
    said = logs(platform, "reporting")
    for answer in ("own 200", "wrong 422", "other 403", "large 413"):
        assert answer in said
    assert "trainerStatus" not in platform.object("trainjob", "somebody")["status"]


TRIAL = """
import json, os, time, urllib.request
rate = float(os.environ["KUBEFLOW_TRAINER_OPT_RATE"])
now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
status = {"metrics": [{"name": "loss", "value": str((rate - 0.5) ** 2)}], "lastUpdatedTime": now}
token = open(os.environ["KUBEFLOW_TRAINER_SERVER_TOKEN"]).read()
body = json.dumps({"trainerStatus": status}).encode()
headers = {"Authorization": f"Bearer {token}"}
url = os.environ["KUBEFLOW_TRAINER_SERVER_URL"]
urllib.request.urlopen(urllib.request.Request(url, body, headers))
"""


def test_an_optimization_job_finds_its_best_trial(platform: Platform) -> None:
    trainer = {"image": "python:3.11", "command": ["python", "-c", TRIAL]}
    template = {"spec": {"runtimeRef": {"name": "jax-distributed"}, "trainer": trainer}}
    choices = {"categorical": {"choices": ["0.1", "0.4", "0.9"]}}
    spec = {
        "objectives": [{"metric": "loss"}],
        "searchAlgorithm": {"grid": {}},
        "parameters": [{"name": "rate", "searchSpace": choices}],
        "numTrials": 3,
        "parallelTrials": 2,
        "trainJobTemplate": template,
    }
    apply(
        platform,
        {
            "apiVersion": GROUP,
            "kind": "OptimizationJob",
            "metadata": {"name": "best-rate"},
            "spec": spec,
        },
    )
    done = platform.until(
        lambda job: has("Complete")(job) or has("Failed")(job), "optimizationjob", "best-rate"
    )
    assert done["status"]["result"]["parameters"] == [{"name": "rate", "value": "0.4"}]
    selector = "trainer.kubeflow.org/optimization-job=best-rate"
    trials = platform.kubectl("get", "trainjobs", "-l", selector, "-o", "name").split()
    assert len(trials) == 3


# --- really distributed ------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="Open MPI is not installed")
def test_mpirun_starts_processes_on_every_node(platform: Platform) -> None:
    """The built-in runtime, on an image that brings nothing: what runs is a shell."""
    script = "mpirun --oversubscribe sh -c 'echo rank $OMPI_COMM_WORLD_RANK at $(hostname)'"
    trainer = shell(script, numNodes=3, numProcPerNode=2)
    on = json.loads(
        platform.kubectl("get", "clustertrainingruntime", "mlx-distributed", "-o", "json")
    )
    local_runtime = {"apiVersion": GROUP, "kind": "TrainingRuntime", "spec": on["spec"]}
    local_runtime["metadata"] = {"name": "mpi"}
    for part in on["spec"]["template"]["spec"]["replicatedJobs"]:
        part["template"]["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox"
    apply(platform, local_runtime, local(train_job("ranks", "mpi", trainer=trainer)))
    complete(platform, "ranks")
    said = logs(platform, "ranks")
    hosts = ["ranks-launcher-0-0", "ranks-node-0-0", "ranks-node-0-1"]
    for rank in range(6):
        assert f"rank {rank} at {hosts[rank // 2]}" in said


DDP = """
import torch, torch.distributed as dist, torch.distributed.nn

def train(rank, world):
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 1))
    data, target = torch.randn(8, 4), torch.randn(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(5):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(data[rank::world]), target[rank::world])
        loss.backward()
        optimizer.step()
    loss = torch.nn.functional.mse_loss(model(data), target)
    print(f"rank {rank} of {world}: loss={loss.item():.5f}", flush=True)

dist.init_process_group("gloo")
train(dist.get_rank(), dist.get_world_size())
dist.destroy_process_group()
"""


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed (pip install torch)"
)
def test_torchrun_trains_on_several_nodes_as_on_one(platform: Platform) -> None:
    (platform.workspace / "ddp.py").write_text(DDP)
    command = ["torchrun", "ddp.py"]
    for name, nodes in (("alone", 1), ("together", 2)):
        trainer = {"command": command, "numNodes": nodes, "numProcPerNode": 1}
        apply(platform, train_job(name, "torch-distributed", trainer=trainer))
    losses = set()
    for name, nodes in (("alone", 1), ("together", 2)):
        complete(platform, name)
        said = logs(platform, name)
        assert all(f"rank {rank} of {nodes}" in said for rank in range(nodes))
        losses |= {line.split("loss=")[1] for line in said.splitlines() if "loss=" in line}
    assert len(losses) == 1
