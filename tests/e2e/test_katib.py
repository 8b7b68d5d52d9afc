"""``kubeflow-katib``, unmodified, wherever the controllers run."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.client_python import python_with
from tests.support.platform import Platform

pytestmark = pytest.mark.e2e

MODULE = Path(__file__).parent / "clients" / "katib_sdk.py"


def test_the_sdk_does_what_its_users_do(platform: Platform, tmp_path: Path) -> None:
    python = python_with("kubeflow-katib==0.19.0", "kubernetes==34.1.0", "pytest")
    platform.run(
        *(str(python), "-m", "pytest", "-c", "/dev/null", "--noconftest", "--quiet"),
        *(f"--rootdir={MODULE.parent}", f"--basetemp={tmp_path / 'inner'}"),
        *("-p", "no:cacheprovider", str(MODULE)),
    )
