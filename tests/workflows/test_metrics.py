"""Numbers that workflows give to Prometheus."""

from __future__ import annotations

import datetime as dt
from typing import Any

from tests.workflows.conftest import Cluster
from tests.workflows.simulation import START, Ending, World, argv, parse, report, world
from tests.workflows.test_running import workflow

from kubeling.kube.objects import Obj
from kubeling.monitoring.registry import Registry
from kubeling.workflows.admission import spec_errors
from kubeling.workflows.meters import Sample

FLIP = """
spec:
  entrypoint: main
  metrics:
    prometheus:
    - name: run_seconds
      help: How long it takes
      labels: [{key: entry, value: "{{workflow.mainEntrypoint}}"}]
      gauge: {realtime: true, value: "{{workflow.duration}}"}
    - {name: runs, help: Runs, counter: {value: "1"}, labels: [{key: end, value: "{{status}}"}]}
  templates:
  - name: main
    steps: [[{name: flip, template: flip, arguments: {parameters: [{name: n, value: "3"}]}}]]
  - name: flip
    retryStrategy: {limit: 2}
    inputs: {parameters: [{name: n}]}
    metrics:
      prometheus:
      - name: failures
        help: Failed flips
        when: "{{status}} == Failed"
        labels: [{key: code, value: "{{exitCode}}"}]
        counter: {value: "{{inputs.parameters.n}}"}
      - name: results
        help: What came out
        when: "{{status}} == Succeeded"
        histogram: {buckets: [1, 5, 10], value: "{{outputs.result}}"}
    container: {image: busybox, command: [flip, "{{retries}}"]}
"""


def flip(pod: Obj) -> Ending:
    return Ending(0, report("4")) if argv(pod)[1] == "1" else Ending(2)


def given(it: World) -> dict[str, list[Sample]]:
    """All samples by the name of their metric."""
    found: dict[str, list[Sample]] = {}
    for listed in it.measured.values():
        for sample in listed:
            found.setdefault(sample.name, []).append(sample)
    return found


def test_templates_count_every_attempt_and_measure_what_came_out() -> None:
    found = given(world(FLIP, flip).run())
    assert [(s.value, s.labels) for s in found["failures"]] == [(3.0, {"code": "2"})]
    assert [(s.value, s.buckets) for s in found["results"]] == [(4.0, (1.0, 5.0, 10.0))]


def test_a_workflow_gives_numbers_at_its_end_and_in_real_time() -> None:
    it = world(FLIP, flip)
    it.advance()
    assert given(it)["run_seconds"][0].since == START
    it.now += dt.timedelta(seconds=90)
    found = given(it.run())
    assert found["run_seconds"][-1].value == 90
    assert [s.labels for s in found["runs"]] == [{"end": "Succeeded"}]


def test_a_number_that_is_none_is_told_in_a_condition() -> None:
    it = world(FLIP, lambda pod: Ending(0, report("four"))).run()
    assert it.execution.phase == "Succeeded"
    assert it.execution.metrics_error == (
        "metric 'results': could not convert string to float: 'four'"
    )


def test_what_prometheus_would_not_take_is_refused() -> None:
    spec = parse(FLIP)["spec"]
    metrics: list[Any] = spec["metrics"]["prometheus"]
    metrics[0]["gauge"]["value"] = "7"
    del metrics[1]["help"]
    metrics.append({"name": "a-b", "help": "x"})
    found = {error.path for error in spec_errors(spec, "spec", is_template=False)}
    assert found == {
        "spec.metrics.prometheus[0].gauge.value",
        "spec.metrics.prometheus[1].help",
        "spec.metrics.prometheus[2]",
        "spec.metrics.prometheus[2].name",
    }


def test_the_registry_speaks_prometheus_text() -> None:
    registry = Registry()
    registry.declare("a_total", "One\nthing", "counter")
    registry.add("a_total", {"x": 'quo"te'}, 1)
    registry.add("a_total", {"x": 'quo"te'}, 1.5)
    registry.declare("h", "Times", "histogram")
    for value in (0.5, 1, 7):
        registry.observe("h", {}, value, (1, 5))
    registry.collect("g", "Live", "gauge", lambda: [({}, 3)])
    assert registry.render().splitlines() == [
        r"# HELP a_total One\nthing",
        "# TYPE a_total counter",
        'a_total{x="quo\\"te"} 2.5',
        "# HELP g Live",
        "# TYPE g gauge",
        "g 3",
        "# HELP h Times",
        "# TYPE h histogram",
        'h_bucket{le="1"} 2',
        'h_bucket{le="5"} 2',
        'h_bucket{le="+Inf"} 3',
        "h_sum 8.5",
        "h_count 3",
    ]


async def test_the_platform_counts_workflows_and_what_they_give(cluster: Cluster) -> None:
    metrics = {"prometheus": [{"name": "made", "help": "Made", "counter": {"value": "2"}}]}
    script = {"image": "bash", "command": ["bash"], "source": "true"}
    await cluster.run(workflow({"name": "main", "metrics": metrics, "script": script}))
    lines = cluster.metrics.render().splitlines()
    assert "argo_workflows_made_total 2" in lines
    assert 'argo_workflows_gauge{phase="Succeeded"} 1' in lines
    assert 'argo_workflows_total_count{namespace="default",phase="Succeeded"} 1' in lines
