"""``kubectl get`` shows of every kind what it shows of it on any cluster."""

import datetime as dt
from typing import Any, ClassVar

import pytest

from kubeling.apiserver.builtin.resources import BUILTIN_RESOURCES
from kubeling.apiserver.columns import BUILTIN_COLUMNS
from kubeling.apiserver.tables import columns_of, to_table

Obj = dict[str, Any]
NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def named(name: str = "x", **parts: Any) -> Obj:
    return {"metadata": {"name": name, "creationTimestamp": "2026-01-01T11:55:00Z"}, **parts}


def row(group: str, kind: str, obj: Obj, *, wide: bool = False) -> dict[str, Any]:
    columns = columns_of(group, kind)
    (cells,) = [r["cells"] for r in to_table([obj], columns, NOW)["rows"]]
    return {
        column.name: cell
        for column, cell in zip(columns, cells, strict=True)
        if wide or column.priority == 0
    }


class TestPods:
    CONTAINERS = ({"name": "a"}, {"name": "b"})

    def pod(self, *statuses: Obj, **status: Any) -> Obj:
        listed = [{"name": c["name"], **s} for c, s in zip(self.CONTAINERS, statuses, strict=False)]
        return named(
            spec={"containers": list(self.CONTAINERS)},
            status={"phase": "Running", "containerStatuses": listed, **status},
        )

    def test_a_running_pod(self) -> None:
        running = {"ready": True, "restartCount": 0, "state": {"running": {}}}
        assert row("", "Pod", self.pod(running, running)) == {
            "Name": "x",
            "Ready": "2/2",
            "Status": "Running",
            "Restarts": "0",
            "Age": "5m",
        }

    @pytest.mark.parametrize(
        ("state", "shown"),
        [
            ({"waiting": {"reason": "CrashLoopBackOff"}}, "CrashLoopBackOff"),
            ({"waiting": {"reason": "ErrImagePull"}}, "ErrImagePull"),
            ({"terminated": {"exitCode": 3, "reason": "Error"}}, "Error"),
            ({"terminated": {"exitCode": 3}}, "ExitCode:3"),
            ({"terminated": {"exitCode": 137, "signal": 9}}, "Signal:9"),
        ],
    )
    def test_the_trouble_of_a_container_is_the_pods_status(self, state: Obj, shown: str) -> None:
        assert row("", "Pod", self.pod({"state": state}))["Status"] == shown

    def test_restarts_say_when_the_last_one_was(self) -> None:
        last = {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T11:57:00Z"}}
        pod = self.pod({"restartCount": 4, "lastState": last, "state": {"running": {}}})
        assert row("", "Pod", pod)["Restarts"] == "4 (3m ago)"

    def test_init_containers_are_counted_until_they_are_done(self) -> None:
        pod = self.pod()
        pod["spec"]["initContainers"] = [{"name": "i"}, {"name": "j"}]
        done = {"name": "i", "state": {"terminated": {"exitCode": 0}}, "restartCount": 1}
        running = {"name": "j", "state": {"running": {}}, "restartCount": 2}
        pod["status"]["initContainerStatuses"] = [done, running]
        shown = row("", "Pod", pod)
        assert (shown["Status"], shown["Restarts"]) == ("Init:1/2", "3")

    def test_sidecars_count_as_containers(self) -> None:
        ready = {"ready": True, "state": {"running": {}}}
        pod = self.pod(ready, ready)
        pod["spec"]["initContainers"] = [{"name": "s", "restartPolicy": "Always"}]
        pod["status"]["initContainerStatuses"] = [{"name": "s", "started": True, **ready}]
        assert row("", "Pod", pod)["Ready"] == "3/3"

    def test_a_pod_being_deleted_is_terminating(self) -> None:
        pod = self.pod()
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
        assert row("", "Pod", pod)["Status"] == "Terminating"

    def test_wide_shows_where_it_runs(self) -> None:
        pod = self.pod(podIP="10.0.0.7")
        pod["spec"]["nodeName"] = "laptop"
        shown = row("", "Pod", pod, wide=True)
        assert (shown["IP"], shown["Node"], shown["Nominated Node"]) == (
            "10.0.0.7",
            "laptop",
            "<none>",
        )


class TestWorkloads:
    TEMPLATE: ClassVar[dict[str, Any]] = {"spec": {"containers": [{"name": "c", "image": "nginx"}]}}

    def test_a_deployment(self) -> None:
        spec = {"replicas": 3, "selector": {"matchLabels": {"b": "2", "a": "1"}}}
        obj = named(spec={**spec, "template": self.TEMPLATE}, status={"readyReplicas": 1})
        assert row("apps", "Deployment", obj, wide=True) == {
            "Name": "x",
            "Ready": "1/3",
            "Up-to-date": 0,
            "Available": 0,
            "Age": "5m",
            "Containers": "c",
            "Images": "nginx",
            "Selector": "a=1,b=2",
        }

    @pytest.mark.parametrize(
        ("spec", "succeeded", "shown"),
        [
            ({"completions": 5}, 2, "2/5"),
            ({"parallelism": 1}, 0, "0/1"),
            ({"parallelism": 3}, 1, "1/1 of 3"),
        ],
    )
    def test_completions_of_a_job(self, spec: Obj, succeeded: int, shown: str) -> None:
        job = named(spec=spec, status={"succeeded": succeeded})
        assert row("batch", "Job", job)["Completions"] == shown

    def test_a_jobs_duration_ends_with_it(self) -> None:
        status = {"startTime": "2026-01-01T11:58:00Z"}
        assert row("batch", "Job", named(status=status))["Duration"] == "2m"
        status["completionTime"] = "2026-01-01T11:58:30Z"
        done = {**status, "conditions": [{"type": "Complete", "status": "True"}]}
        shown = row("batch", "Job", named(status=done))
        assert (shown["Duration"], shown["Status"]) == ("30s", "Complete")

    def test_a_cron_job_that_never_ran(self) -> None:
        shown = row("batch", "CronJob", named(spec={"schedule": "@daily"}))
        assert shown["Last Schedule"] == "<none>"
        assert shown["Suspend"] == "False"

    def test_targets_of_an_autoscaler(self) -> None:
        cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
        current = {"name": "cpu", "current": {"averageUtilization": 35}}
        memory = {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}
        obj = named(
            spec={
                "maxReplicas": 3,
                "metrics": [
                    {"type": "Resource", "resource": cpu},
                    {"type": "Resource", "resource": memory},
                ],
            },
            status={"currentMetrics": [{"type": "Resource", "resource": current}]},
        )
        shown = row("autoscaling", "HorizontalPodAutoscaler", obj)
        assert shown["Targets"] == "cpu: 35%/80%, memory: <unknown>/1Gi"


class TestTheRest:
    def test_a_service_waits_for_its_address(self) -> None:
        port = {"port": 80, "nodePort": 30080, "protocol": "TCP"}
        spec = {"type": "LoadBalancer", "clusterIP": "10.96.0.9", "ports": [port]}
        shown = row("", "Service", named(spec=spec))
        assert (shown["External-IP"], shown["Port(s)"]) == ("<pending>", "80:30080/TCP")

    def test_endpoints_beyond_three_are_counted(self) -> None:
        addresses = [{"ip": f"10.0.0.{i}"} for i in range(5)]
        obj = named(subsets=[{"addresses": addresses, "ports": [{"port": 8080}]}])
        shown = row("", "Endpoints", obj)["Endpoints"]
        assert shown == "10.0.0.0:8080,10.0.0.1:8080,10.0.0.2:8080 + 2 more..."

    def test_an_unbound_claim_shows_no_capacity(self) -> None:
        claim = named(
            spec={"accessModes": ["ReadWriteOnce"], "storageClassName": "local"},
            status={"phase": "Pending"},
        )
        shown = row("", "PersistentVolumeClaim", claim)
        assert (shown["Capacity"], shown["Access Modes"]) == ("", "")
        claim["spec"]["volumeName"] = "v"
        claim["status"] = {
            "phase": "Bound",
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
        }
        shown = row("", "PersistentVolumeClaim", claim)
        assert (shown["Capacity"], shown["Access Modes"]) == ("1Gi", "RWO")

    def test_the_default_storage_class_is_marked(self) -> None:
        obj = named("local", provisioner="p")
        key = "storageclass.kubernetes.io/is-default-class"
        obj["metadata"]["annotations"] = {key: "true"}
        assert row("storage.k8s.io", "StorageClass", obj)["Name"] == "local (default)"

    @pytest.mark.parametrize(
        "event",
        [
            {
                "involvedObject": {"kind": "Pod", "name": "p"},
                "lastTimestamp": "2026-01-01T11:59:00Z",
                "message": "Pulled ",
            },
            {
                "regarding": {"kind": "Pod", "name": "p"},
                "eventTime": "2026-01-01T11:59:00.000000Z",
                "note": "Pulled ",
            },
        ],
    )
    def test_events_of_either_group_begin_with_their_age(self, event: Obj) -> None:
        shown = row("", "Event", {**named(), "type": "Normal", "reason": "Pulled", **event})
        assert list(shown.items()) == [
            ("Last Seen", "60s"),
            ("Type", "Normal"),
            ("Reason", "Pulled"),
            ("Object", "pod/p"),
            ("Message", "Pulled"),
        ]

    def test_a_binding_names_its_subjects(self) -> None:
        obj = named(
            roleRef={"kind": "ClusterRole", "name": "edit"},
            subjects=[
                {"kind": "User", "name": "ann"},
                {"kind": "ServiceAccount", "name": "bob", "namespace": "ns"},
            ],
        )
        shown = row("rbac.authorization.k8s.io", "RoleBinding", obj, wide=True)
        assert (shown["Role"], shown["Users"], shown["ServiceAccounts"]) == (
            "ClusterRole/edit",
            "ann",
            "ns/bob",
        )

    @pytest.mark.parametrize("entry", BUILTIN_RESOURCES, ids=lambda entry: entry.resource.kind)
    def test_no_kind_needs_more_than_a_name(self, entry: Any) -> None:
        cells = row(entry.resource.group, entry.resource.kind, named(), wide=True)
        assert "x" in cells.values()

    def test_columns_are_of_kinds_that_are_served(self) -> None:
        kinds = {(entry.resource.group, entry.resource.kind) for entry in BUILTIN_RESOURCES}
        assert kinds >= BUILTIN_COLUMNS.keys()


class TestDefinitions:
    OBJ = named(
        spec={"n": 2, "on": True, "list": ["a"], "text": 5},
        status={"conditions": [{"type": "Ready", "status": "True"}]},
    )

    def cell(self, path: str, type: str = "string") -> Any:
        columns = columns_of("g", "K", [{"name": "C", "jsonPath": path, "type": type}])
        return to_table([self.OBJ], columns, NOW)["rows"][0]["cells"][1]

    def test_paths_and_types(self) -> None:
        assert self.cell('.status.conditions[?(@.type=="Ready")].status') == "True"
        assert self.cell(".spec.n", "integer") == 2
        assert self.cell(".spec.on") == "true"
        assert self.cell(".spec.list") == '["a"]'
        assert self.cell(".metadata.creationTimestamp", "date") == "5m"

    def test_what_is_absent_or_of_another_type_is_left_blank(self) -> None:
        assert self.cell(".spec.nope") is None
        assert self.cell(".spec.nope", "date") is None
        assert self.cell(".spec.text", "boolean") is None
        assert self.cell(".metadata.name", "integer") is None

    def test_a_kind_without_columns_shows_name_and_age(self) -> None:
        assert [column.name for column in columns_of("g", "K")] == ["Name", "Age"]


class TestTables:
    def test_rows_carry_the_metadata_the_object_or_nothing(self) -> None:
        columns = columns_of("g", "K")
        obj = named(spec={})
        (partial,) = to_table([obj], columns, NOW)["rows"]
        assert partial["object"]["kind"] == "PartialObjectMetadata"
        (full,) = to_table([obj], columns, NOW, include="Object")["rows"]
        assert full["object"] == obj
        assert "object" not in to_table([obj], columns, NOW, include="None")["rows"][0]

    def test_later_tables_of_a_watch_do_not_repeat_the_header(self) -> None:
        table = to_table([named()], columns_of("g", "K"), NOW, header=False)
        assert table["columnDefinitions"] == []
