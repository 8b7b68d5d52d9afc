"""The claim that resumable experiments keep, and the checkpoints that trials hand on in it."""

from __future__ import annotations

from pathlib import Path

from tests.tuning.cluster import condition, running_cluster
from tests.tuning.experiments import experiment, manifest, suggestion

from kubeling.kube.objects import Obj, deep_copy, is_owned_by, name
from kubeling.kube.resources import PERSISTENT_VOLUME_CLAIMS
from kubeling.tuning.resources import EXPERIMENTS, SUGGESTIONS
from kubeling.tuning.suggestion_volume import suggestion_claim, with_checkpoints


def training() -> Obj:
    """An experiment whose algorithm keeps checkpoints."""
    found = experiment()
    setting = {"name": "suggestion_trial_dir", "value": "/checkpoints"}
    found["spec"]["algorithm"] = {"algorithmName": "pbt", "algorithmSettings": [setting]}
    return found


def test_a_trial_has_a_folder_of_its_own_that_begins_as_its_parents() -> None:
    of = training()
    run = with_checkpoints(of["spec"]["trialTemplate"]["trialSpec"], of, "search-b", "search-a")
    spec = run["spec"]["template"]["spec"]
    (volume,) = spec["volumes"]
    assert volume["persistentVolumeClaim"] == {"claimName": "search-pbt"}
    (mount,) = spec["containers"][0]["volumeMounts"]
    assert (mount["mountPath"], mount["subPath"]) == ("/checkpoints", "search/search-b")
    (copying,) = spec["initContainers"]
    assert [m["subPath"] for m in copying["volumeMounts"]] == ["search/search-a", "search/search-b"]


def test_without_a_parent_nothing_is_copied_and_without_a_folder_nothing_is_changed() -> None:
    of = training()
    template = of["spec"]["trialTemplate"]["trialSpec"]
    assert (
        "initContainers" not in with_checkpoints(template, of, "a", "")["spec"]["template"]["spec"]
    )
    before = deep_copy(template)
    assert with_checkpoints(template, experiment(), "a", "") == before


def test_trials_may_share_the_claim_where_they_have_to() -> None:
    mode = suggestion_claim(training(), suggestion())["spec"]["accessModes"]
    assert mode == ["ReadWriteMany"]
    mode = suggestion_claim(experiment(), suggestion())["spec"]["accessModes"]
    assert mode == ["ReadWriteOnce"]


async def test_the_claim_is_there_when_the_experiment_has_ended(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, lambda job: ("loss=1", 0)) as cluster:
        await cluster.client.create(EXPERIMENTS, manifest(resumePolicy="FromVolume"))
        await cluster.until(EXPERIMENTS, "search", condition("Succeeded"))
        claim = await cluster.client.get(PERSISTENT_VOLUME_CLAIMS, "search-random", "team")
        assert claim["metadata"]["ownerReferences"][0]["kind"] == "Suggestion"


async def test_a_claim_of_an_earlier_namesake_is_not_taken_for_ours(tmp_path: Path) -> None:
    """The old claim goes with its Suggestion, a moment after a new Experiment has the name."""
    async with running_cluster(tmp_path, lambda _: ("loss=1\n", 0)) as cluster:
        old = suggestion_claim(experiment(), suggestion())
        await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, old)
        await cluster.client.create(EXPERIMENTS, manifest(resumePolicy="FromVolume"))
        found = await cluster.until(SUGGESTIONS, "search")
        unprotected = {"metadata": {"finalizers": None}}
        await cluster.client.patch(PERSISTENT_VOLUME_CLAIMS, name(old), unprotected, "team")
        await cluster.client.delete(PERSISTENT_VOLUME_CLAIMS, name(old), "team")
        await cluster.until(
            PERSISTENT_VOLUME_CLAIMS, name(old), lambda claim: is_owned_by(claim, found)
        )
        await cluster.until(EXPERIMENTS, "search", condition("Succeeded"))
