"""A TrainJob and its runtime become a JobSet."""

from __future__ import annotations

import pytest
from tests.training.trainjobs import (
    container,
    environment,
    group,
    jobset,
    patch,
    rendered,
    runtime,
    train_job,
)

from kubeling.kube.objects import Obj, name
from kubeling.training.trainer import progress
from kubeling.training.trainer.mpi_agent import companions


def initializing(step: str, *, of: str = "torch-distributed") -> Obj:
    """A runtime with an initializer before the nodes."""
    found = runtime(of)
    mount = {"name": "initializer", "mountPath": "/workspace"}
    content = {"name": step, "image": "fetch", "volumeMounts": [mount]}
    node = found["spec"]["template"]["spec"]["replicatedJobs"][0]
    node["dependsOn"] = [{"name": step, "status": "Complete"}]
    labels = {"trainer.kubeflow.org/trainjob-ancestor-step": step}
    job = {"template": {"spec": {"containers": [content]}}}
    first = {"name": step, "template": {"metadata": {"labels": labels}, "spec": job}}
    found["spec"]["template"]["spec"]["replicatedJobs"].insert(0, first)
    return found


# --- nodes -------------------------------------------------------------------------------------


def test_the_jobset_has_the_jobs_name_and_belongs_to_it() -> None:
    made = jobset(train_job())
    assert (made["kind"], name(made), made["metadata"]["namespace"]) == ("JobSet", "mnist", "team")
    assert made["metadata"]["ownerReferences"][0]["uid"] == "job-uid"
    assert made["spec"]["suspend"] is False
    assert jobset(train_job(suspend=True))["spec"]["suspend"] is True


def test_nodes_are_the_pods_of_one_job() -> None:
    made = group(jobset(train_job(trainer={"numNodes": 3})))
    assert made["replicas"] == 1
    job = made["template"]["spec"]
    assert (job["parallelism"], job["completions"]) == (3, 3)


def test_the_trainer_replaces_what_the_runtime_runs() -> None:
    wanted = {"image": "mine", "command": ["python"], "args": ["train.py"]}
    made = container(jobset(train_job(trainer=wanted)))
    assert {key: made[key] for key in wanted} == wanted


def test_a_function_is_written_down_where_no_other_file_can_be() -> None:
    """Neither another node's nor the user's own, both of which have the same name."""
    sent = ["bash", "-c", 'printf "%s" "$SCRIPT" > "train.py"\ntorchrun "train.py"']
    node = container(jobset(train_job(trainer={"command": sent})))
    assert node["workingDir"] in [mount["mountPath"] for mount in node["volumeMounts"]]
    at_home = [sent[0], sent[1], sent[2].replace("train.py", "/home/mpiuser/train.py")]
    for command in (at_home, ["python", "train.py"]):
        assert "workingDir" not in container(jobset(train_job(trainer={"command": command})))


def test_variables_and_resources_are_merged_key_by_key() -> None:
    on = runtime()
    node = on["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]
    content = node["template"]["spec"]["containers"][0]
    content["env"] = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    content["resources"] = {"limits": {"cpu": "2", "memory": "1Gi"}}
    secret = {"secretKeyRef": {"name": "s", "key": "k"}}
    trainer = {
        "env": [{"name": "B", "valueFrom": secret}, {"name": "C", "value": "3"}],
        "resourcesPerNode": {"limits": {"cpu": "4"}, "requests": {"cpu": "1"}},
    }
    made = jobset(train_job(trainer=trainer), on)
    found = environment(made)
    assert {key: found[key] for key in "ABC"} == {"A": "1", "B": secret, "C": "3"}
    assert container(made)["resources"] == {
        "limits": {"cpu": "4", "memory": "1Gi"},
        "requests": {"cpu": "1"},
    }


def test_other_groups_have_as_many_pods_as_they_say() -> None:
    on = initializing("dataset-initializer")
    on["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["parallelism"] = 2
    job = group(jobset(train_job(), on), "dataset-initializer")["template"]["spec"]
    assert (job["parallelism"], job["completions"]) == (2, 2)


def test_a_runtime_without_a_policy_gives_its_own_number_of_nodes() -> None:
    on = runtime(mlPolicy=None)
    node = on["spec"]["template"]["spec"]["replicatedJobs"][0]
    node["template"]["spec"]["parallelism"] = 2
    assert group(jobset(train_job(), on))["template"]["spec"]["completions"] == 2


# --- patches -----------------------------------------------------------------------------------


def test_patches_are_merged_in_order_before_the_trainers_own_wishes() -> None:
    first = patch(
        {
            "metadata": {"labels": {"team": "vision"}},
            "spec": {
                "nodeSelector": {"disk": "fast", "zone": "a"},
                "tolerations": [{"key": "old"}],
                "containers": [
                    {"name": "node", "volumeMounts": [{"name": "d", "mountPath": "/d"}]}
                ],
            },
        }
    )
    pod_spec = {"nodeSelector": {"zone": "b"}, "tolerations": [{"key": "new"}]}
    second = patch({"spec": pod_spec}, "example.com/b")
    made = jobset(train_job(runtimePatches=[first, second], trainer={"image": "mine"}))
    template = group(made)["template"]["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "vision"
    assert template["spec"]["nodeSelector"] == {"disk": "fast", "zone": "b"}
    assert template["spec"]["tolerations"] == [{"key": "new"}]
    assert container(made)["image"] == "mine"
    assert {"name": "d", "mountPath": "/d"} in container(made)["volumeMounts"]


def test_patches_label_the_jobset_itself() -> None:
    on = runtime()
    on["spec"]["template"]["metadata"] = {"labels": {"from": "runtime"}}
    metadata = {"labels": {"team": "vision"}, "annotations": {"a": "b"}}
    change = {"manager": "a.b/c", "trainingRuntimeSpec": {"template": {"metadata": metadata}}}
    made = jobset(train_job(runtimePatches=[change]), on)
    assert made["metadata"]["labels"] == {"from": "runtime", "team": "vision"}
    assert made["metadata"]["annotations"] == {"a": "b"}


# --- what the nodes are told -------------------------------------------------------------------


@pytest.mark.parametrize("trainer", [None, {"numNodes": 2, "numProcPerNode": 3}])
def test_torch_nodes_meet_at_node_0(trainer: Obj | None) -> None:
    """Also where the TrainJob says nothing of its trainer, where upstream tells them nothing."""
    made = jobset(train_job(**({"trainer": trainer} if trainer else {})))
    found = environment(made)
    assert found["PET_NNODES"] == ("2" if trainer else "1")
    assert found["PET_NPROC_PER_NODE"] == ("3" if trainer else "1")
    assert found["PET_MASTER_ADDR"] == "mnist-node-0-0.mnist"
    assert found["PET_MASTER_PORT"] == "29500"
    field = found["PET_NODE_RANK"]["fieldRef"]["fieldPath"]
    assert field == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert {"containerPort": 29500} in container(made)["ports"]


@pytest.mark.parametrize(
    ("resources", "processes"),
    [
        ({}, "1"),
        ({"limits": {"cpu": "4"}}, "4"),
        ({"requests": {"cpu": "2"}, "limits": {"cpu": "4"}}, "2"),
        ({"limits": {"cpu": "500m"}}, "1"),
        ({"limits": {"cpu": "1500m"}}, "2"),
        ({"limits": {"cpu": "4", "nvidia.com/gpu": 2}}, "auto"),
        ({"limits": {"nvidia.com/gpu": 1.0}}, "auto"),
    ],
)
def test_processes_are_one_per_accelerator_or_cpu(resources: Obj, processes: str) -> None:
    made = jobset(train_job(trainer={"resourcesPerNode": resources}))
    assert environment(made)["PET_NPROC_PER_NODE"] == processes


def test_other_containers_are_told_where_the_runtime_says_so() -> None:
    target = {"jobName": "node", "containerNames": ["check"]}
    policy = {"numNodes": 2, "torch": {"envInjection": {"targets": [target]}}}
    on = runtime(mlPolicy=policy)
    spec = on["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    spec["spec"]["initContainers"] = [{"name": "check", "image": "busybox"}]
    template = group(jobset(train_job(), on))["template"]["spec"]["template"]["spec"]
    told = {entry["name"] for entry in template["initContainers"][0]["env"]}
    assert {"PET_NNODES", "PET_NODE_RANK", "PET_MASTER_ADDR"} <= told


def test_elastic_torch_meets_by_c10d_and_goes_on_with_fewer() -> None:
    elastic = {"minNodes": 1, "maxRestarts": 3}
    on = runtime(mlPolicy={"numNodes": 4, "torch": {"elasticPolicy": elastic}})
    found = environment(jobset(train_job(), on))
    assert found["PET_NNODES"] == "1:4"
    assert found["PET_RDZV_BACKEND"] == "c10d"
    assert found["PET_RDZV_ENDPOINT"] == "mnist-node-0-0.mnist:29500"
    assert found["PET_MAX_RESTARTS"] == "3"


def test_jax_and_xgboost_get_their_own_variables() -> None:
    jax = environment(jobset(train_job("jax-distributed", trainer={"numNodes": 2})))
    assert jax["JAX_COORDINATOR_ADDRESS"] == "mnist-node-0-0.mnist:29500"
    assert jax["JAX_NUM_PROCESSES"] == "2"
    assert "fieldRef" in jax["JAX_PROCESS_ID"]
    gpus = {"limits": {"nvidia.com/gpu": 2}}
    trainer = {"numNodes": 2, "resourcesPerNode": gpus}
    boost = environment(jobset(train_job("xgboost-distributed", trainer=trainer)))
    assert boost["DMLC_TRACKER_URI"] == "mnist-node-0-0.mnist"
    assert boost["DMLC_NUM_WORKER"] == "4"


def test_hosts_are_found_in_the_runtimes_subdomain() -> None:
    on = runtime()
    on["spec"]["template"]["spec"]["network"] = {"subdomain": "hosts"}
    assert environment(jobset(train_job(), on))["PET_MASTER_ADDR"] == "mnist-node-0-0.hosts"


# --- MPI ---------------------------------------------------------------------------------------


def test_mpi_hosts_are_the_launcher_and_one_node_less() -> None:
    trainer = {"numNodes": 3, "numProcPerNode": 2, "env": [{"name": "A", "value": "1"}]}
    made = rendered(train_job("deepspeed-distributed", trainer=trainer))
    assert group(made.jobset, "node")["template"]["spec"]["completions"] == 2
    assert group(made.jobset, "launcher")["template"]["spec"]["completions"] == 1
    ((_, hosts),) = made.companions
    assert name(hosts) == "mnist-mpi-hostfile"
    assert hosts["data"]["hostfile"].splitlines() == [
        "mnist-launcher-0-0.mnist slots=2",
        "mnist-node-0-0.mnist slots=2",
        "mnist-node-0-1.mnist slots=2",
    ]
    launcher = environment(made.jobset, "launcher")
    assert launcher["OMPI_MCA_orte_default_hostfile"] == "/etc/mpi/hostfile"
    assert launcher["OMPI_MCA_orte_set_default_slots"] == "2"
    assert launcher["A"] == environment(made.jobset, "node")["A"] == "1"
    assert made.keys


def test_nodes_without_sshd_are_reached_through_the_api() -> None:
    obj = train_job("deepspeed-distributed", trainer={"numNodes": 2})
    made = rendered(obj)
    launcher = environment(made.jobset, "launcher")
    assert launcher["OMPI_MCA_plm_rsh_agent"] == "/etc/mpi/kubexec.sh"
    assert set(made.companions[0][1]["data"]) == {
        *("hostfile", "kubexec.sh", "podexec.py", "podof.py"),
    }
    spec = group(made.jobset, "launcher")["template"]["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "mnist-launcher"
    labels = {"jobset.sigs.k8s.io/replicatedjob-name": "node"}
    pod = {"metadata": {"name": "mnist-node-0-0-x", "labels": labels}}
    (_, none, _) = companions(obj, made.jobset, [])
    assert none.content is not None
    assert len(none.content["rules"]) == 1
    (_, role, _) = companions(obj, made.jobset, [pod])
    assert role.content is not None
    assert role.content["rules"][1]["resourceNames"] == ["mnist-node-0-0-x"]


def test_nodes_with_sshd_are_reached_by_ssh() -> None:
    on = runtime("deepspeed-distributed")
    node = on["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    node["spec"]["containers"][0]["command"] = ["/usr/sbin/sshd", "-De"]
    made = rendered(train_job("deepspeed-distributed"), on)
    assert "OMPI_MCA_plm_rsh_agent" not in environment(made.jobset, "launcher")
    assert set(made.companions[0][1]["data"]) == {"hostfile"}


def test_mpi_keys_and_hostfile_are_where_mpirun_and_sshd_look() -> None:
    made = jobset(train_job("deepspeed-distributed"))
    mounts = {m["name"]: m["mountPath"] for m in container(made, "launcher")["volumeMounts"]}
    assert mounts["mpi-ssh-auth"] == "/home/mpiuser/.ssh"
    assert mounts["mpi-hostfile"] == "/etc/mpi"
    spec = group(made)["template"]["spec"]["template"]["spec"]
    hosts = next(v["configMap"] for v in spec["volumes"] if v["name"] == "mpi-hostfile")
    assert "hostfile" not in [item["key"] for item in hosts["items"]]


def test_one_mpi_node_is_the_launcher_alone() -> None:
    made = rendered(train_job("deepspeed-distributed", trainer={"numNodes": 1}))
    assert group(made.jobset, "node")["template"]["spec"]["completions"] == 0
    assert made.companions[0][1]["data"]["hostfile"] == "mnist-launcher-0-0.mnist slots=1\n"


# --- initializers ------------------------------------------------------------------------------


def test_initializers_are_told_what_to_fetch_and_with_which_credentials() -> None:
    wanted = {
        "storageUri": "s3://data",
        "env": [{"name": "ENDPOINT", "value": "x"}],
        "secretRef": {"name": "keys"},
    }
    obj = train_job(initializer={"dataset": wanted})
    made = jobset(obj, initializing("dataset-initializer"))
    found = container(made, "dataset-initializer")
    assert environment(made, "dataset-initializer") == {"STORAGE_URI": "s3://data", "ENDPOINT": "x"}
    assert found["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert group(made)["dependsOn"] == [{"name": "dataset-initializer", "status": "Complete"}]


def test_jobs_that_share_a_network_do_not_meet() -> None:
    def met_at(uid: str) -> str:
        obj = train_job("jax-distributed")
        obj["metadata"]["uid"] = uid
        made = rendered(obj, shared_network=True).jobset
        host, _, port = environment(made)["JAX_COORDINATOR_ADDRESS"].partition(":")
        assert host == "mnist-node-0-0.mnist"
        assert container(made)["ports"] == [{"containerPort": int(port)}]
        return str(port)

    assert met_at("one") != met_at("other")
    assert met_at("one") == met_at("one")


# --- progress, gangs ---------------------------------------------------------------------------


def test_training_may_report_progress_with_a_token_for_this_job_alone() -> None:
    made = jobset(train_job())
    url = (
        "http://platform/apis/trainer.kubeflow.org/v1alpha1/namespaces/team/trainjobs/mnist/status"
    )
    assert environment(made)["KUBEFLOW_TRAINER_SERVER_URL"] == url
    mount = environment(made)["KUBEFLOW_TRAINER_SERVER_TOKEN"]
    assert mount == "/var/run/secrets/kubeflow/trainer/token"
    volumes = group(made)["template"]["spec"]["template"]["spec"]["volumes"]
    (token, _) = volumes[0]["projected"]["sources"]
    assert token["serviceAccountToken"]["audience"] == (
        "trainer.kubeflow.org/v1alpha1/namespaces/team/trainjobs/mnist/status"
    )


def test_nodes_that_know_no_services_report_where_the_service_leads() -> None:
    address, port = {"ip": "127.0.0.1"}, {"port": 4711}
    leads = {"subsets": [{"addresses": [address], "ports": [port]}]}
    assert progress.behind(leads) == "http://127.0.0.1:4711"
    assert progress.behind({}) == progress.URL == "http://trainer-progress.kubeflow.svc:10080"


def test_gangs_are_as_large_as_the_job() -> None:
    resources = {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}}
    obj = train_job(trainer={"numNodes": 3, "resourcesPerNode": resources})
    made = rendered(obj, runtime(podGroupPolicy={"coscheduling": {}}))
    ((resource, gang),) = made.companions
    assert resource.group == "scheduling.x-k8s.io"
    assert gang["spec"] == {
        "minMember": 3,
        "minResources": {"cpu": "1500m", "memory": "3Gi"},
        "scheduleTimeoutSeconds": 60,
    }
    template = group(made.jobset)["template"]["spec"]["template"]
    assert template["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"] == "mnist"


def test_volcano_is_told_of_its_queue() -> None:
    on = runtime(podGroupPolicy={"volcano": {"networkTopology": {"mode": "hard"}}})
    queue = {"scheduling.volcano.sh/queue-name": "research"}
    on["spec"]["template"]["metadata"] = {"annotations": queue}
    made = rendered(train_job(), on)
    ((resource, gang),) = made.companions
    assert resource.group == "scheduling.volcano.sh"
    assert gang["spec"]["queue"] == "research"
    assert gang["spec"]["networkTopology"] == {"mode": "hard"}
    template = group(made.jobset)["template"]["spec"]["template"]
    assert template["metadata"]["annotations"]["scheduling.k8s.io/group-name"] == "mnist"
