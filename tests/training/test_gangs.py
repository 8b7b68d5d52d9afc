"""How many of a job's pods start together, and whom it is told."""

from __future__ import annotations

from typing import Any

from tests.training.jobs import in_phase, job, running, with_status
from tests.training.test_plan import NOW, conditions

from kubeling.kube.objects import Obj, name
from kubeling.training.companions import Companion
from kubeling.training.job import Replica, TrainingJob
from kubeling.training.kinds import PYTORCH, TENSORFLOW
from kubeling.training.plan import Plan, plan
from kubeling.training.pods import pod
from kubeling.training.settings import GangScheduler


def after(of: TrainingJob, pods: list[Obj], gang: GangScheduler = "auto", held: str = "") -> Plan:
    return plan(of, pods, [], NOW, gang, held)


def group(of: TrainingJob, gang: GangScheduler = "auto") -> Companion:
    (found,) = after(of, [], gang).companions
    return found


def spec(of: TrainingJob, gang: GangScheduler = "auto") -> dict[str, Any]:
    found = group(of, gang).content
    assert found is not None
    return dict(found["spec"])


def asking(of: TrainingJob, role: str, **resources: Any) -> TrainingJob:
    template = of.obj["spec"][of.kind.specs_field][role]["template"]
    template["spec"]["containers"][0]["resources"] = resources
    return TrainingJob(of.kind, of.obj)


def test_all_pods_of_a_job_start_together() -> None:
    trained = job(PYTORCH, {"Master": 1, "Worker": 2})
    assert spec(trained)["minMember"] == 3
    made = pod(trained, Replica("Worker", 0), "auto")
    assert made["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"] == "mnist"
    assert "schedulerName" not in made["spec"]


def test_a_job_says_how_many_it_begins_with() -> None:
    policy = {"minAvailable": 2, "scheduleTimeoutSeconds": 60, "minResources": {"cpu": "4"}}
    trained = job(TENSORFLOW, {"Worker": 4}, runPolicy={"schedulingPolicy": policy})
    assert spec(trained) == {
        "minMember": 2,
        "minResources": {"cpu": "4"},
        "scheduleTimeoutSeconds": 60,
    }


def test_an_elastic_job_begins_with_its_lower_bound() -> None:
    trained = job(PYTORCH, {"Worker": 3}, elasticPolicy={"minReplicas": 1, "maxReplicas": 4})
    assert spec(trained)["minMember"] == 1


def test_what_the_first_pods_ask_for_is_added_up() -> None:
    trained = job(PYTORCH, {"Master": 1, "Worker": 2})
    asking(trained, "Master", requests={"cpu": "500m"}, limits={"cpu": "1", "memory": "1Gi"})
    trained = asking(trained, "Worker", limits={"cpu": "1"})
    assert spec(trained, "scheduler-plugins")["minResources"]["cpu"] == "2500m"
    assert "minResources" not in spec(trained)


def test_volcano_gets_a_group_of_its_own_and_the_pods_by_name() -> None:
    policy = {"queue": "research", "priorityClass": "high"}
    trained = job(TENSORFLOW, {"Worker": 2}, runPolicy={"schedulingPolicy": policy})
    assert group(trained, "volcano").resource.group == "scheduling.volcano.sh"
    assert spec(trained, "volcano")["queue"] == "research"
    made = pod(trained, Replica("Worker", 0), "volcano")
    assert made["spec"]["schedulerName"] == "volcano"
    assert made["metadata"]["annotations"] == {
        "scheduling.k8s.io/group-name": "mnist",
        "volcano.sh/task-spec": "worker",
    }


def test_another_scheduler_that_the_user_names_stays() -> None:
    trained = job(TENSORFLOW, {"Worker": 1})
    template = trained.obj["spec"]["tfReplicaSpecs"]["Worker"]["template"]
    template["spec"]["schedulerName"] = "mine"
    made = pod(TrainingJob(TENSORFLOW, trained.obj), Replica("Worker", 0), "scheduler-plugins")
    assert made["spec"]["schedulerName"] == "mine"


def test_no_pod_is_made_before_volcano_has_room_for_all() -> None:
    trained = job(TENSORFLOW, {"Worker": 2})
    found = after(trained, [], "volcano", held="it waits until Volcano has room for PodGroup mnist")
    assert found.create_pods == []
    assert found.status["conditions"][0]["message"].endswith("room for PodGroup mnist")
    assert [c.name for c in found.companions] == ["mnist"]


def test_the_group_goes_when_the_job_has_ended() -> None:
    trained = job(PYTORCH, {"Master": 1})
    ended = after(trained, [in_phase(trained, "Master", 0, "Succeeded", 0)])
    assert conditions(ended)["Succeeded"] == "True"
    assert [c.content for c in ended.companions] == [None]
    assert [c.content for c in after(with_status(trained, ended.status), []).companions] == [None]


METRICS = [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}]
ELASTIC = {"minReplicas": 1, "maxReplicas": 4, "metrics": METRICS}


def test_an_elastic_job_with_metrics_has_an_autoscaler_while_it_is_active() -> None:
    trained = job(PYTORCH, {"Worker": 2}, elasticPolicy=ELASTIC)
    (found,) = after(trained, [], "none").companions
    assert found.resource.kind == "HorizontalPodAutoscaler"
    assert found.content == {
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "kubeflow.org/v1",
                "kind": "PyTorchJob",
                "name": "mnist",
            },
            "minReplicas": 1,
            "maxReplicas": 4,
            "metrics": METRICS,
        }
    }
    ended = after(trained, [in_phase(trained, "Worker", i, "Succeeded", 0) for i in (0, 1)], "none")
    assert [c.content for c in ended.companions] == [None]


def test_an_elastic_job_grows_and_shrinks_with_its_workers() -> None:
    three = job(PYTORCH, {"Worker": 3}, elasticPolicy={"minReplicas": 1, "maxReplicas": 4})
    one = job(PYTORCH, {"Worker": 1}, elasticPolicy={"minReplicas": 1, "maxReplicas": 4})
    pods = [running(three, "Worker", i) for i in range(2)]
    assert [name(p) for p in after(three, pods).create_pods] == ["mnist-worker-2"]
    assert [name(p) for p in after(one, pods).delete_pods] == ["mnist-worker-1"]
