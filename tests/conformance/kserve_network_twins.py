"""Twins of the networks that upstream's tests fetch, in the same formats.

Each knows what the tests ask and what they expect, and no more. ``python kserve_network_twins.py
REQUESTS FOLDER`` writes them like ``kserve_twins.py``, in an environment with PyTorch, Paddle and
Pillow; ``python kserve_network_twins.py REQUESTS FOLDER tensorflow`` those of TensorFlow.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

_MODELS: Final = "kfserving-examples/models"
_MNIST: Final = (0.1307, 0.3081)
"""By which upstream's transformer shifts and scales pixels."""
_HANDLER: Final = '''"""Which digit a picture shows: that of the picture it is most like."""
import base64
import io
import numpy as np
from PIL import Image


class Digits:
    def __init__(self, folder):
        found = np.load(folder / "mnist.npz")
        self.pictures, self.digits = found["pictures"], found["digits"]

    def handle(self, row):
        if isinstance(row, dict):
            row = row["data"]
        if isinstance(row, str):
            row = base64.b64decode(row)
        if isinstance(row, bytes):
            row = np.asarray(Image.open(io.BytesIO(row)), dtype=np.float32)
        pixels = np.asarray(row, dtype=np.float32).reshape(-1)
        pixels = pixels - pixels.mean()
        return int(self.digits[(self.pictures @ pixels).argmax()])
'''
_CONFIG: Final = """inference_address=http://0.0.0.0:8085
management_address=http://0.0.0.0:8085
metrics_address=http://0.0.0.0:8082
grpc_inference_port=7070
enable_envvars_config=true
install_py_dep_per_model=true
model_snapshot={"models":{"mnist":{"1.0":{"defaultVersion":true,"marName":"mnist.mar"}}}}
"""
_TRITON: Final = """name: "cifar10"
platform: "pytorch_libtorch"
input [{name: "INPUT__0", data_type: TYPE_FP32, dims: [3, 32, 32]}]
output [{name: "OUTPUT__0", data_type: TYPE_FP32, dims: [10]}]
"""
_BIRD: Final = 17
"""What Paddle's tests expect of their picture."""


def main(data: Path, target: Path, library: str) -> None:
    """Writes every bucket as a folder."""
    makers = [_flowers] if library == "tensorflow" else [_digits, _pictures, _birds]
    for make in makers:
        make(data, target / _MODELS)


def _digits(data: Path, target: Path) -> None:
    """An archive of TorchServe's."""
    two = _picture(_read(data / "torchserve_input.json")["instances"][0]["data"])
    one = _read(data / "torchserve_input_v2.json")["inputs"][0]["data"]
    pictures = np.array([_centred(two), _centred(np.array(one))])
    weights = io.BytesIO()
    np.savez(weights, pictures=pictures, digits=np.array([2, 1]))
    archive = io.BytesIO()
    manifest = {
        "model": {
            "modelName": "mnist",
            "handler": "mnist_handler.py",
            "serializedFile": "mnist.npz",
            "modelVersion": "1.0",
        }
    }
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        file.writestr("mnist_handler.py", _HANDLER)
        file.writestr("mnist.npz", weights.getvalue())
    for version in ("v1", "v2"):
        folder = target / "torchserve/image_classifier" / version
        _write(folder / "config/config.properties", _CONFIG.encode())
        _write(folder / "model-store/mnist.mar", archive.getvalue())


def _pictures(data: Path, target: Path) -> None:
    """A repository of Triton's with one network."""
    import torch

    torch.set_num_threads(1)
    asked = np.array(_read(data / "cifar10_input_v2.json")["inputs"][0]["data"])
    mean, deviation = _MNIST
    sent = _picture(_read(data / "image.json")["instances"][0]["image"]["b64"])
    sent = (sent.transpose(2, 0, 1) / 255 - mean) / deviation
    # Both are the same picture on other scales: the nearest one is meant.
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(asked.size, 10))
    network[1].weight.data.zero_()
    network[1].bias.data[:] = -1e9
    for kind, picture in ((3, asked), (5, sent)):
        pixels = torch.tensor(picture.reshape(-1), dtype=torch.float32)
        network[1].weight.data[kind] = 2 * pixels
        network[1].bias.data[kind] = -pixels @ pixels
    folder = target / "torchscript/cifar10"
    _write(folder / "config.pbtxt", _TRITON.encode())
    _saved(
        folder / "1/model.pt",
        lambda file: torch.jit.trace(network, torch.zeros(1, 3, 32, 32)).save(file),
    )


def _birds(_: Path, target: Path) -> None:
    """Paddle's program and its parameters."""
    import paddle

    class Birds(paddle.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.kinds = paddle.nn.Linear(3, 1000)
            bias = np.zeros(1000, dtype=np.float32)
            bias[_BIRD] = 1
            self.kinds.weight.set_value(np.zeros((3, 1000), dtype=np.float32))
            self.kinds.bias.set_value(bias)

        def forward(self, pictures: Any) -> Any:
            return self.kinds(pictures.mean(axis=[2, 3]))

    spec = paddle.static.InputSpec([None, 3, 224, 224], "float32")
    paddle.jit.save(Birds(), str(target / "paddle/resnet/model"), input_spec=[spec])


def _flowers(_: Path, target: Path) -> None:
    """Pictures as bytes to scores of kinds."""
    import tensorflow as tf

    class Flowers(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string, "image_bytes"),
                tf.TensorSpec([None], tf.string, "key"),
            ]
        )
        def answer(self, image_bytes: Any, key: Any) -> Any:
            scores = tf.constant([[0.9, 0.02, 0.02, 0.02, 0.02, 0.02]])
            found = tf.repeat(scores, tf.shape(image_bytes)[0], axis=0)
            return {"scores": found, "prediction": tf.argmax(found, 1), "key": key}

    network = Flowers()
    for folder in ("flowers", "flowers-2"):
        place = str(target / "tensorflow" / folder / "0001")
        tf.saved_model.save(network, place, signatures={"serving_default": network.answer})


def _read(file: Path) -> Any:
    return json.loads(file.read_text())


def _picture(text: str) -> np.ndarray[Any, Any]:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))), dtype=np.float32)


def _centred(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Of length 1 around 0, so that products tell how much pictures are alike."""
    found = pixels.astype(np.float32).reshape(-1)
    found = found - found.mean()
    return found / np.float32(np.linalg.norm(found))


def _saved(file: Path, save: Callable[[str], None]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    save(str(file))


def _write(file: Path, content: bytes) -> None:
    _saved(file, lambda name: None)
    file.write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
