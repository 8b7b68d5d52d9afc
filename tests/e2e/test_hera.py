"""``hera``, unmodified, against the Argo Server API, wherever the controllers run."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.client_python import python_with
from tests.support.platform import Platform

pytestmark = pytest.mark.e2e

MODULE = Path(__file__).parent / "clients" / "hera_server.py"


def test_hera_does_what_its_users_do(platform: Platform, tmp_path: Path) -> None:
    python = python_with("hera==7.1.0", "httpx==0.28.1", "pytest", "pytest-asyncio")
    platform.run(
        *(str(python), "-m", "pytest", "-c", "/dev/null", "--noconftest", "--quiet"),
        *(f"--rootdir={MODULE.parent}", f"--basetemp={tmp_path / 'inner'}"),
        *("-p", "no:cacheprovider", "-o", "asyncio_mode=auto", str(MODULE)),
    )
