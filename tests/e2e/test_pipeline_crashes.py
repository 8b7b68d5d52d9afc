"""A run with loops, retries and artifacts, whose platform is killed again and again.

``--fuzz 17`` kills it some fifty times in a run of two hundred steps.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from tests.pipelines.specs import dag, document, output_of, selected, step, task
from tests.support.platform import Platform

from kubeling.kube.objects import Obj

pytestmark = pytest.mark.e2e

KILLS = 3
STEPS = 4  # in an iteration
NUMBER = {"componentInputParameter": "n"}
DATA = {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}

# Whoever succeeds says so, once, as the last thing it does.
SAY = 'echo "$0" >> "{folder}/ran"'
MAKE = "echo $1 > {{{{$.outputs.artifacts['data'].path}}}}; " + SAY
FLAKY = 'mkdir "{folder}/tried-$1" && exit 1; ' + SAY
READ = (
    "cat {{{{$.inputs.artifacts['data'].path}}}} > {{{{$.outputs.parameters['out'].output_file}}}};"
    + SAY
)
SUM = (
    "echo '{{{{$.inputs.parameters['all']}}}}' > {{{{$.outputs.parameters['out'].output_file}}}};"
    + SAY
)


def shell(label: str, script: str, folder: Path, **inputs: str) -> Obj:
    found = step(label, **inputs)
    argument = "{{$.inputs.parameters['n']}}" if inputs.get("n") else "0"
    found["executor"]["container"] = {
        "image": "busybox",
        "command": ["sh", "-ec", script.format(folder=folder), f"{label}-{argument}", argument],
    }
    return found


def pipeline(folder: Path, iterations: int) -> Obj:
    make = shell("make", MAKE, folder, n="NUMBER_INTEGER")
    make["outputDefinitions"] = {"artifacts": {"data": DATA}}
    read = shell("read", READ, folder, n="NUMBER_INTEGER")
    read["inputDefinitions"]["artifacts"] = {"data": DATA}
    read["outputDefinitions"] = {"parameters": {"out": {"parameterType": "NUMBER_INTEGER"}}}
    total = shell("sum", SUM, folder)
    total["inputDefinitions"] = {"parameters": {"all": {"parameterType": "LIST"}}}
    total["outputDefinitions"] = {"parameters": {"out": {"parameterType": "STRING"}}}
    made = {"taskOutputArtifact": {"producerTask": "make", "outputArtifactKey": "data"}}
    reads = task("read", "flaky", inputs={"n": NUMBER})
    reads["inputs"]["artifacts"] = {"data": made}
    body = dag(
        {
            "make": task("make", inputs={"n": NUMBER}),
            "flaky": task("flaky", "make", inputs={"n": NUMBER}, retryPolicy={"maxRetryCount": 3}),
            "read": reads,
            "after": task("after", "read", inputs={"n": NUMBER}),
        },
        outputs={"out": selected("read")},
        declared={"out": "LIST"},
        n="NUMBER_INTEGER",
    )
    items = {"raw": json.dumps(list(range(iterations)))}
    loop = task(
        "body",
        parameterIterator={"itemInput": "n", "items": items},
        iteratorPolicy={"parallelismLimit": 6},
    )
    return document(
        {"loop": loop, "sum": task("sum", inputs={"all": output_of("loop")})},
        {
            "make": make,
            "flaky": shell("flaky", FLAKY, folder, n="NUMBER_INTEGER"),
            "read": read,
            "after": shell("after", SAY, folder, n="NUMBER_INTEGER"),
            "sum": total,
            "body": body,
        },
    )


def test_a_run_is_as_without_the_kills(solo: Platform, fuzz: int, chance: random.Random) -> None:
    folder = solo.workspace / "crashes"
    folder.mkdir()
    folder.chmod(0o777)
    kills, iterations = KILLS * fuzz, 6 if fuzz == 1 else 50
    moments = sorted(chance.sample(range(iterations * STEPS), kills))
    spec = {"pipelineSpec": pipeline(folder, iterations)}
    run: Obj = {"apiVersion": "pipelines.kubeflow.org/v2beta1", "kind": "Run", "spec": spec}
    run["metadata"] = {"name": (name := "crashes")}
    solo.kubectl("apply", "-f", "-", stdin=json.dumps(run))
    for moment in moments:
        solo.until(lambda found, moment=moment: ended(found) >= moment, "runs", name)
        solo.kill()
        solo.start()
    solo.until(lambda found: (found.get("status") or {}).get("finishedAt"), "runs", name)
    status = solo.object("runs", name)["status"]
    assert status["state"] == "SUCCEEDED", status
    ran = Counter((folder / "ran").read_text().split())
    expected = {f"{s}-{n}" for s in ("make", "flaky", "read", "after") for n in range(iterations)}
    assert ran.keys() == expected | {"sum-0"}
    assert set(ran.values()) == {1}, "a step that had succeeded ran again"
    assert status["tasks"] == f"{len(expected) + 1}/{len(expected) + 1}"


def ended(run: Obj) -> int:
    return int(((run.get("status") or {}).get("tasks") or "0").partition("/")[0])
