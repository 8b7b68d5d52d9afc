"""The cluster's manifests are ones an API server accepts."""

from pathlib import Path

import pytest
from tests.support.platform import Platform

pytestmark = pytest.mark.e2e

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_every_manifest_of_the_cluster_is_accepted(solo: Platform) -> None:
    solo.kubectl("apply", "-f", str(DEPLOY / "namespace.yaml"))
    shown = solo.kubectl("apply", "-k", str(DEPLOY), "--dry-run=server")
    for line in ("deployment.apps/kubeling-controllers", "persistentvolumeclaim/kubeling-data"):
        assert f"{line} created (server dry run)" in shown
    solo.kubectl("delete", "namespace", "kubeling")
