"""Where a model without ``storageUri`` comes from: the Hub, by ``--model_id``.

Its files are fetched before the server listens, as upstream's does it by a library of the Hub's.
Weights of other libraries, which repositories often have as well, are left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from kubeling.artifacts import hub
from kubeling.artifacts.errors import ArtifactError
from kubeling.serving.server.errors import ModelLoadError
from kubeling.serving.storage.cache import ModelCache

__all__ = ["fetched"]

_SAFE: Final = "*.safetensors"
_OTHERS: Final = (
    *("*.h5", "*.msgpack", "*.ot", "*.onnx", "*.onnx_data", "*.gguf", "*.tflite", "*.mlmodel"),
    *("onnx/*", "openvino/*", "coreml/*", "*.mlpackage/*", "*.png", "*.jpg", "*.gif"),
)
_PICKLED: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def fetched(model_id: str, revision: str, target: Path) -> Path:
    """The folder of a model: ``target``, or one that is here; raises :class:`ModelLoadError`.

    ``HF_ENDPOINT`` names a mirror, and what was fetched before comes from ``MODEL_CACHE``.
    """
    if Path(model_id).is_dir():
        return Path(model_id)
    advice = "put a token that may into a secret, and into the container's env as HF_TOKEN"
    repository = hub.Repository(model_id, revision, advice=advice)
    try:
        takes = _wanted(hub.names(repository, os.environ))
        hub.snapshot(repository, target, takes, os.environ, ModelCache.of(os.environ).fetch)
    except (ArtifactError, OSError) as error:
        raise ModelLoadError(f"--model_id {model_id}: {error}") from error
    return target


def _wanted(names: Collection[str]) -> Callable[[str], bool]:
    """Whether a file is: pickled weights only where there are no others."""
    safe = any(fnmatch(name, _SAFE) for name in names)
    left = (*_OTHERS, *_PICKLED) if safe else _OTHERS
    return lambda name: not any(fnmatch(name, pattern) for pattern in left)
