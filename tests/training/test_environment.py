"""What each process is told about the others."""

from __future__ import annotations

import json

from tests.training.jobs import environment, job

from kubeling.training.job import Replica, TrainingJob
from kubeling.training.kinds import JAX, PADDLE, PYTORCH, TENSORFLOW, XGBOOST
from kubeling.training.pods import pod, service


def test_tensorflow_processes_get_the_cluster_and_their_task() -> None:
    tf_config = json.loads(
        environment(job(TENSORFLOW, {"Worker": 2, "PS": 1}), "Worker", 1)["TF_CONFIG"]
    )
    assert tf_config == {
        "cluster": {
            "ps": ["mnist-ps-0.team.svc:2222"],
            "worker": ["mnist-worker-0.team.svc:2222", "mnist-worker-1.team.svc:2222"],
        },
        "task": {"type": "worker", "index": 1},
        "environment": "cloud",
    }


def test_a_lone_tensorflow_process_gets_no_cluster() -> None:
    assert "TF_CONFIG" not in environment(job(TENSORFLOW, {"Worker": 1}), "Worker")


def test_dynamic_tensorflow_workers_know_themselves_and_the_servers() -> None:
    dynamic = job(TENSORFLOW, {"Worker": 3, "PS": 1}, enableDynamicWorker=True)
    cluster = json.loads(environment(dynamic, "Worker", 2)["TF_CONFIG"])["cluster"]
    assert cluster == {
        "worker": {"2": "mnist-worker-2.team.svc:2222"},
        "ps": ["mnist-ps-0.team.svc:2222"],
    }


def test_pytorch_ranks_begin_with_the_master() -> None:
    trained = job(PYTORCH, {"Master": 1, "Worker": 2})
    assert environment(trained, "Master")["RANK"] == "0"
    assert environment(trained, "Worker", 1) == {
        "PYTHONUNBUFFERED": "1",
        "MASTER_PORT": "23456",
        "PET_MASTER_PORT": "23456",
        "MASTER_ADDR": "mnist-master-0",
        "PET_MASTER_ADDR": "mnist-master-0",
        "WORLD_SIZE": "3",
        "RANK": "2",
        "PET_NPROC_PER_NODE": "auto",
        "PET_NODE_RANK": "2",
        "PET_NNODES": "3",
    }


def test_pytorch_without_a_master_meets_at_worker_0() -> None:
    found = environment(job(PYTORCH, {"Worker": 2}, nprocPerNode="2"), "Worker", 1)
    assert (found["MASTER_ADDR"], found["RANK"], found["WORLD_SIZE"]) == (
        "mnist-worker-0",
        "1",
        "4",
    )


def test_elastic_pytorch_gets_a_rendezvous_instead_of_ranks() -> None:
    policy = {"minReplicas": 1, "maxReplicas": 3, "rdzvBackend": "c10d", "maxRestarts": 5}
    found = environment(job(PYTORCH, {"Worker": 2}, elasticPolicy=policy), "Worker", 1)
    assert found["PET_RDZV_ENDPOINT"] == "mnist-worker-0:23456"
    assert found["PET_NNODES"] == "1:3"
    assert found["PET_MAX_RESTARTS"] == "5"
    assert "RANK" not in found


def test_elastic_pytorch_with_a_master_gets_its_address_too() -> None:
    policy = {"minReplicas": 1, "maxReplicas": 3, "standalone": True}
    trained = job(PYTORCH, {"Master": 1, "Worker": 2}, elasticPolicy=policy)
    found = environment(trained, "Worker", 1)
    assert (found["MASTER_ADDR"], found["RANK"]) == ("mnist-master-0", "2")
    assert (found["PET_NNODES"], found["PET_STANDALONE"]) == ("1:3", "1")


def test_xgboost_processes_know_the_master_and_the_workers() -> None:
    assert environment(job(XGBOOST, {"Master": 1, "Worker": 2}), "Worker", 0) == {
        "MASTER_PORT": "9999",
        "MASTER_ADDR": "mnist-master-0",
        "WORLD_SIZE": "3",
        "RANK": "1",
        "PYTHONUNBUFFERED": "1",
        "WORKER_PORT": "9999",
        "WORKER_ADDRS": "mnist-worker-0,mnist-worker-1",
    }


def test_jax_processes_meet_at_worker_0() -> None:
    assert environment(job(JAX, {"Worker": 2}), "Worker", 1) == {
        "PYTHONUNBUFFERED": "1",
        "COORDINATOR_PORT": "6666",
        "COORDINATOR_ADDRESS": "mnist-worker-0",
        "NUM_PROCESSES": "2",
        "PROCESS_ID": "1",
    }


def test_the_first_paddle_process_listens_on_its_own_address() -> None:
    trained = job(PADDLE, {"Worker": 2})
    assert environment(trained, "Worker", 0)["PADDLE_MASTER"] == "$(POD_IP_DUMMY):36543"
    assert environment(trained, "Worker", 1)["PADDLE_MASTER"] == "mnist-worker-0:36543"


def test_what_the_container_sets_itself_wins() -> None:
    trained = job(PYTORCH, {"Master": 1})
    trained.replica_specs["Master"].template["spec"]["containers"][0]["env"] = [
        {"name": "MASTER_PORT", "value": "1234"}
    ]
    assert environment(trained, "Master")["MASTER_PORT"] == "1234"


def test_pods_and_services_carry_the_labels_the_clients_select_by() -> None:
    trained = job(PYTORCH, {"Master": 1, "Worker": 1})
    master = pod(trained, Replica("Master", 0))
    assert master["metadata"]["name"] == "mnist-master-0"
    assert master["metadata"]["labels"] == {
        "training.kubeflow.org/operator-name": "pytorchjob-controller",
        "training.kubeflow.org/job-name": "mnist",
        "training.kubeflow.org/replica-type": "master",
        "training.kubeflow.org/replica-index": "0",
        "training.kubeflow.org/job-role": "master",
    }
    headless = service(trained, Replica("Worker", 0))
    assert headless["spec"]["clusterIP"] == "None"
    assert (
        headless["spec"]["selector"].items()
        <= pod(trained, Replica("Worker", 0))["metadata"]["labels"].items()
    )
    assert headless["spec"]["ports"] == [{"name": "pytorchjob-port", "port": 23456}]


def test_on_one_network_every_replica_has_a_port_of_its_own() -> None:
    shared = TrainingJob(TENSORFLOW, job(TENSORFLOW, {"Worker": 3}).obj, shared_network=True)
    cluster = json.loads(environment(shared, "Worker")["TF_CONFIG"])["cluster"]["worker"]
    ports = [int(address.rpartition(":")[2]) for address in cluster]
    assert ports == [ports[0] + i for i in range(3)]
    replica = Replica("Worker", 2)
    container = pod(shared, replica)["spec"]["containers"][0]
    assert container["ports"] == [{"name": "tfjob-port", "containerPort": ports[2]}]
    assert service(shared, replica)["spec"]["ports"] == [{"name": "tfjob-port", "port": ports[2]}]


def test_on_one_network_replicas_know_one_another_by_name() -> None:
    made = job(PYTORCH, {"Worker": 1}, elasticPolicy={"minReplicas": 1, "maxReplicas": 2})
    shared = TrainingJob(PYTORCH, made.obj, shared_network=True)
    (alias,) = pod(shared, Replica("Worker", 0))["spec"]["hostAliases"]
    assert alias["ip"] == "127.0.0.1"
    assert {"mnist-worker-0", "mnist-worker-1.team.svc"} <= set(alias["hostnames"])
    assert "hostAliases" not in pod(made, Replica("Worker", 0))["spec"]


def test_jobs_that_share_a_network_do_not_meet() -> None:
    one, other = (job(PYTORCH, {"Master": 1}) for _ in range(2))
    other.obj["metadata"]["uid"] = "another-uid"
    first, second = (
        environment(TrainingJob(PYTORCH, found.obj, shared_network=True), "Master")["MASTER_PORT"]
        for found in (one, other)
    )
    assert first != second
