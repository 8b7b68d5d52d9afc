"""The images of KServe's tests: upstream's own programs where they are small, else stand-ins.

Upstream's run on ``kubeling.serving.kserve`` under the name of ``kserve``, which is what that
package is for. What would need a downloaded model says what the tests expect of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["images"]

_CATALOGUE: Final = Path(__file__).with_name("kserve_images.yaml")
_TRANSFORMER: Final = ("custom_transformer/model.py", "custom_transformer/model_grpc.py")
_PROGRAMS: Final = {
    "success-200-isvc": ("fastapi", "test_resources/graph/success_200_isvc/model.py"),
    "error-404-isvc": ("fastapi", "test_resources/graph/error_404_isvc/model.py"),
    "image-transformer": ("pillow", *_TRANSFORMER),
    "custom-image-transformer-grpc": ("pillow", *reversed(_TRANSFORMER)),
}
"""By image, what else its programs import, and these, below ``python``; the first is run."""


def images(upstream: Path) -> str:
    """Entries of the catalogue."""
    folder = upstream / "kserve" / "python"
    entries = [
        _entry(image, needed, [folder / path for path in paths])
        for image, (needed, *paths) in _PROGRAMS.items()
    ]
    return _CATALOGUE.read_text() + "".join(entries) + _explainer(folder / "artexplainer/artserver")


def _entry(image: str, needed: str, paths: Sequence[Path]) -> str:
    programs = "".join(_program(path) for path in paths)
    first = "torchvision.py, " if needed == "pillow" else ""
    return f"""
- images: ["kserve/{image}"]
  python: {{requirements: [{needed}], platform: true}}
  entrypoint: [as-kserve, {first}{paths[0].name}]
  programs:
{programs}
    python: |
      #!/bin/sh
      case "$2" in
        custom_transformer.*)
          module="${{2#*.}}" && shift 2
          set -- "$(command -v as-kserve)" torchvision.py "$module.py" "$@" ;;
      esac
      exec python3 "$@"
    as-kserve: *as-kserve
    torchvision.py: *torchvision
"""


def _explainer(package: Path) -> str:
    """Upstream's package, whose loop runs within itself: with asyncio's own only."""
    return f"""
- images: ["kserve/art-explainer"]
  python: {{requirements: [adversarial-robustness-toolbox, nest_asyncio], platform: true}}
  entrypoint: [as-kserve, artserver.py, explainer.py]
  programs:
    as-kserve: *as-kserve
    artserver.py: |
      import importlib.util, shutil, sys
      sys.modules["uvloop"] = None
      found = importlib.util.spec_from_file_location("artserver", shutil.which("art_model.py"))
      module = sys.modules["artserver"] = importlib.util.module_from_spec(found)
      found.loader.exec_module(module)
{_program(package / "model.py", "art_model.py")}
{_program(package / "__main__.py", "explainer.py")}
"""


def _program(path: Path, name: str = "") -> str:
    lines = path.read_text().splitlines()
    return f"    {name or path.name}: |\n" + "".join(
        f"      {line}\n" if line else "\n" for line in lines
    )
