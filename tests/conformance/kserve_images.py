"""The images of KServe's tests: upstream's own programs where they are small, else stand-ins.

Upstream's run on ``kubeling.serving.kserve`` under the name of ``kserve``, which is what that
package is for. What would need a downloaded model says what the tests expect of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["images"]

_CATALOGUE: Final = Path(__file__).with_name("kserve_images.yaml")
_UPSTREAM: Final = "kserve/python/test_resources/graph"


def images(upstream: Path) -> str:
    """Entries of the catalogue."""
    return _CATALOGUE.read_text() + "".join(
        _entry(image, upstream / _UPSTREAM / image.replace("-", "_") / "model.py")
        for image in ("success-200-isvc", "error-404-isvc")
    )


def _entry(image: str, path: Path) -> str:
    program = "".join(f"      {line}\n" if line else "\n" for line in path.read_text().splitlines())
    return f"""
- images: ["kserve/{image}"]
  python: {{requirements: [fastapi], platform: true}}
  entrypoint: [as-kserve, model.py]
  programs:
    model.py: |
{program}
    as-kserve: *as-kserve
"""
