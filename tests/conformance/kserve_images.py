"""The images of KServe's tests: upstream's own programs where they are small, else stand-ins.

Upstream's run on ``kubeling.serving.kserve`` under the name of ``kserve``, which is what that
package is for. What would need a downloaded model says what the tests expect of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["images"]

_CATALOGUE: Final = Path(__file__).with_name("kserve_images.yaml")
_PROGRAMS: Final = {
    "success-200-isvc": ("test_resources/graph/success_200_isvc/model.py", "fastapi"),
    "error-404-isvc": ("test_resources/graph/error_404_isvc/model.py", "fastapi"),
    "image-transformer": ("custom_transformer/model.py", "pillow"),
    "custom-image-transformer-grpc": ("custom_transformer/model_grpc.py", "pillow"),
}
"""By image, below ``python``, and what else each imports."""


def images(upstream: Path) -> str:
    """Entries of the catalogue."""
    folder = upstream / "kserve" / "python"
    return _CATALOGUE.read_text() + "".join(
        _entry(image, folder / path, needed) for image, (path, needed) in _PROGRAMS.items()
    )


def _entry(image: str, path: Path, needed: str) -> str:
    program = "".join(f"      {line}\n" if line else "\n" for line in path.read_text().splitlines())
    first = "torchvision.py, " if needed == "pillow" else ""
    return f"""
- images: ["kserve/{image}"]
  python: {{requirements: [{needed}], platform: true}}
  entrypoint: [as-kserve, {first}model.py]
  programs:
    model.py: |
{program}
    as-kserve: *as-kserve
    torchvision.py: *torchvision
"""
