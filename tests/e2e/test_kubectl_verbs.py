"""Every verb of kubectl that is not a stream, on a running platform: a table of commands.

Each row is a command and what it must print, in the words it prints on any cluster. The rows of a
story build on each other; ``test_kubectl.py`` holds the API server alone to finer points.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.support.platform import Platform

pytestmark = pytest.mark.e2e

Story = list[tuple[str, str]]

CREATE: Story = [
    (
        "create clusterrole kcr --verb=get --resource=pods",
        "clusterrole.rbac.authorization.k8s.io/kcr",
    ),
    (
        "create clusterrolebinding kcrb --clusterrole=view --user=bob",
        "clusterrolebinding.rbac.authorization.k8s.io/kcrb",
    ),
    ("create priorityclass kpc --value=10", "priorityclass.scheduling.k8s.io/kpc"),
    ("create configmap cm --from-literal=a=b", "configmap/cm"),
    ("create cronjob cj --image=busybox --schedule=@yearly", "cronjob.batch/cj"),
    ("create job from --from=cronjob/cj", "job.batch/from"),
    ("create deployment d --image=busybox --replicas=0", "deployment.apps/d"),
    ("create ingress ing --rule=a.example/x=web:80", "ingress.networking.k8s.io/ing"),
    ("create job j --image=busybox -- true", "job.batch/j"),
    ("create pdb pdb --selector=app=d --min-available=1", "poddisruptionbudget.policy/pdb"),
    ("create quota q --hard=configmaps=50", "resourcequota/q"),
    ("create role r --verb=get --resource=pods", "role.rbac.authorization.k8s.io/r"),
    ("create rolebinding rb --role=r --user=bob", "rolebinding.rbac.authorization.k8s.io/rb"),
    ("create secret generic s --from-literal=a=b", "secret/s"),
    (
        "create secret docker-registry dr --docker-username=u --docker-password=p",
        "secret/dr",
    ),
    ("create service clusterip sc --tcp=80", "service/sc"),
    ("create service nodeport sn --tcp=80", "service/sn"),
    ("create service externalname se --external-name=example.com", "service/se"),
    ("create service loadbalancer sl --tcp=80", "service/sl"),
    ("create serviceaccount sa", "serviceaccount/sa"),
]

WORKLOAD: Story = [
    (
        "create deployment web --image=busybox --replicas=2 -- sleep 600",
        "deployment.apps/web created",
    ),
    ("rollout status deployment/web --timeout=30s", "successfully rolled out"),
    ("get deployment web -o custom-columns=N:.metadata.name,R:.spec.replicas", "web   2"),
    ("get deployment web -o go-template={{.spec.replicas}}", "2"),
    ("get deployment --show-labels --sort-by=.metadata.name", "app=web"),
    ("get pods --field-selector=status.phase=Running -o wide", "10.244."),
    ("wait --for=jsonpath={.status.readyReplicas}=2 deployment/web", "condition met"),
    ("expose deployment web --port=80 --target-port=8000", "service/web exposed"),
    ("autoscale deployment web --min=1 --max=3 --cpu-percent=50", "autoscaled"),
    ("get hpa", "Deployment/web"),
    ("delete hpa web", 'horizontalpodautoscaler.autoscaling "web" deleted'),
    ("set env deployment/web A=1", "env updated"),
    ("rollout status deployment/web --timeout=30s", "successfully rolled out"),
    ("set image deployment/web busybox=alpine", "image updated"),
    ("rollout status deployment/web --timeout=30s", "successfully rolled out"),
    ("rollout history deployment/web", "3         <none>"),
    ("rollout history deployment/web --revision=2", "A:\t1"),
    ("rollout undo deployment/web --to-revision=1", "rolled back"),
    ("rollout status deployment/web --timeout=30s", "successfully rolled out"),
    ("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}", "busybox"),
    ("rollout pause deployment/web", "paused"),
    ("rollout resume deployment/web", "resumed"),
    ("rollout restart deployment/web", "restarted"),
    ("rollout status deployment/web --timeout=30s", "successfully rolled out"),
    ("set resources deployment/web --requests=cpu=10m", "resource requirements updated"),
    ("set serviceaccount deployment/web default", "serviceaccount updated"),
    ("set selector service/web app=other", "selector updated"),
    ("scale deployment/web --replicas=1 --current-replicas=2", "scaled"),
    ("rollout status deployment/web --timeout=30s", "successfully rolled out"),
    ("describe deployment web", "ScalingReplicaSet"),
    ("events --for deployment/web", "Scaled down replica set"),
    ("get events --sort-by=.lastTimestamp", "Scheduled"),
    ("logs deployment/web", ""),
    ("delete deployment web --cascade=orphan", 'deployment.apps "web" deleted'),
    ("get replicasets -l app=web -o name", "replicaset.apps/web-"),
    ("delete replicaset -l app=web --cascade=foreground", "deleted"),
    ("get pods -l app=web", "No resources found"),
]

CHANGES: Story = [
    (
        "run p --image=busybox --restart=Never --labels=a=b -- sh -c 'echo hello; sleep 600'",
        "pod/p created",
    ),
    ("wait --for=condition=Ready pod/p --timeout=30s", "condition met"),
    ("logs p --timestamps", "Z hello"),
    ("label pod p x=y", "labeled"),
    ("label pod p x=z", "already has a value (y), and --overwrite is false"),
    ("label pod p x-", "unlabeled"),
    ("annotate pod p x=y", "annotated"),
    ("annotate pod p x=z --overwrite", "annotated"),
    ("""patch pod p -p {"metadata":{"labels":{"s":"1"}}}""", "pod/p patched"),
    ("""patch pod p --type=merge -p {"metadata":{"labels":{"s":null}}}""", "pod/p patched"),
    (
        """patch pod p --type=json -p [{"op":"test","path":"/metadata/labels/a","value":"no"}]""",
        "the server rejected our request due to an error in our request",
    ),
    ("top pods --containers", "POD   NAME   CPU(cores)   MEMORY(bytes)"),
    ("top nodes", "MEMORY(%)"),
    ("delete pod p --now", 'pod "p" deleted'),
    ("wait --for=delete pod/p --timeout=10s", ""),
    ("create configmap cm --from-literal=a=b", "configmap/cm created"),
    ("create configmap cm", 'configmaps "cm" already exists'),
    ("delete configmap cm --wait=false", 'configmap "cm" deleted'),
    ("delete configmap cm --ignore-not-found", ""),
]

CLUSTER: Story = [
    ("taint nodes kubeling a=b:PreferNoSchedule", "tainted"),
    ("taint nodes kubeling a-", "untainted"),
    ("cordon kubeling", "cordoned"),
    ("get nodes", "Ready,SchedulingDisabled"),
    ("uncordon kubeling", "uncordoned"),
    ("describe node kubeling", "Allocated resources:"),
    ("auth whoami", "system:masters"),
    ("auth can-i --list", "*.*"),
    ("create token default --duration=10m", "eyJ"),
    ("config view", "DATA+OMITTED"),
    ("cluster-info", "Kubernetes control plane"),
    ("api-versions", "metrics.k8s.io/v1beta1"),
    ("api-resources --namespaced=true --verbs=list -o name", "deployments.apps"),
    ("explain deployment.spec.strategy", "rollingUpdate"),
    ("explain pod --recursive", "terminationGracePeriodSeconds"),
    ("explain experiments.spec.objective", "objectiveMetricName"),
    ("get nonsense", 'the server doesn\'t have a resource type "nonsense"'),
    ("get pods --field-selector=spec.nonsense=1", "field label not supported"),
    ("describe quota", "No resources found"),
]

ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "reconciled", "namespace": "verbs"},
    "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
}


@pytest.fixture
def namespace(solo: Platform) -> Iterator[str]:
    """A namespace that is gone, with all in it, afterwards."""
    solo.kubectl("create", "namespace", "verbs")
    yield "verbs"
    solo.kubectl("delete", "namespace", "verbs")


def tell(platform: Platform, namespace: str, story: Story) -> None:
    """Runs the commands one after the other."""
    import shlex

    for command, expected in story:
        # JSON carries its own quotes.
        words = command.split() if "{" in command else shlex.split(command)
        done = platform.run("kubectl", "-n", namespace, *words, check=False)
        said = done.stdout + done.stderr
        assert expected in said, f"kubectl {command}\n{said}"


def test_create_knows_every_kind(solo: Platform, namespace: str) -> None:
    try:
        tell(solo, namespace, [(command, f"{made} created") for command, made in CREATE])
    finally:
        tell(
            solo,
            namespace,
            [
                ("delete clusterrole kcr", "deleted"),
                ("delete clusterrolebinding kcrb", "deleted"),
                ("delete priorityclass kpc", "deleted"),
            ],
        )


def test_a_workload_from_its_creation_to_its_end(solo: Platform, namespace: str) -> None:
    tell(solo, namespace, WORKLOAD)


def test_objects_are_changed_in_every_way(solo: Platform, namespace: str) -> None:
    tell(solo, namespace, CHANGES)


def test_the_cluster_is_asked_and_looked_after(solo: Platform, namespace: str) -> None:
    tell(solo, namespace, CLUSTER)


def test_manifests_are_replaced_and_reconciled(solo: Platform, namespace: str) -> None:
    def fed(manifest: object, *command: str) -> str:
        return solo.kubectl(*command, "-n", namespace, "-f", "-", stdin=json.dumps(manifest))

    def verbs() -> list[str]:
        found = json.loads(solo.kubectl("get", "role", "reconciled", "-n", namespace, "-o", "json"))
        return [verb for rule in found["rules"] for verb in rule["verbs"]]

    role = json.loads(json.dumps(ROLE))
    assert "reconciled" in fed(role, "auth", "reconcile")
    role["rules"][0]["verbs"] = ["get"]
    fed(role, "auth", "reconcile")
    assert verbs() == ["list", "get"]
    assert "role.rbac.authorization.k8s.io/reconciled replaced" in fed(role, "replace")
    assert verbs() == ["get"]
