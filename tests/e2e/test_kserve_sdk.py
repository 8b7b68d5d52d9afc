"""``KServeClient`` of the unmodified ``kserve`` package, wherever the controllers run."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.client_python import python_with
from tests.support.platform import Platform

pytestmark = pytest.mark.e2e

MODULE = Path(__file__).parent / "clients" / "kserve_sdk.py"


def test_the_sdk_does_what_its_users_do(platform: Platform, tmp_path: Path) -> None:
    # kubernetes 36 refuses the package's own models (its client checks types).
    python = python_with("kserve==0.21.0", "kubernetes<36", "pytest")
    platform.run(
        *(str(python), "-m", "pytest", "-c", "/dev/null", "--noconftest", "--quiet"),
        *(f"--rootdir={MODULE.parent}", f"--basetemp={tmp_path / 'inner'}"),
        *("-p", "no:cacheprovider", str(MODULE)),
        timeout=280,
    )
