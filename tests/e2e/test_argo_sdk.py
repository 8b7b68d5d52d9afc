"""``argo-workflows``, Argo's own Python SDK, unmodified, against the Argo Server API."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.client_python import python_with
from tests.support.platform import Platform

pytestmark = pytest.mark.e2e

MODULE = Path(__file__).parent / "clients" / "argo_sdk.py"


def test_the_sdk_does_what_its_manual_says(platform: Platform, tmp_path: Path) -> None:
    python = python_with("argo-workflows==6.7.18", "pytest")
    platform.run(
        *(str(python), "-m", "pytest", "-c", "/dev/null", "--noconftest", "--quiet"),
        *(f"--rootdir={MODULE.parent}", f"--basetemp={tmp_path / 'inner'}"),
        *("-p", "no:cacheprovider", str(MODULE)),
    )
