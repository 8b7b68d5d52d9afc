"""``/opt/tf-mnist-with-summaries/mnist.py`` of Katib's image of that name, on digits.

Flags, folders and tags: ``examples/v1beta1/trial-images/tf-mnist-with-summaries/mnist.py``. The
event files are what TensorBoard reads, checksums included.
"""

from __future__ import annotations

import argparse
import os
import struct
import time
from pathlib import Path
from typing import Final

from kubeling.tuning.standins.digits import Digits

_POLYNOMIAL: Final = 0x82F63B78
_MASK: Final = 0xA282EAD8
_MOMENTUM: Final = 0.9


def main() -> None:
    """Trains, and writes one scalar of each kind per epoch."""
    parser = argparse.ArgumentParser(prog="mnist.py", description=__doc__)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--log-interval", type=int, default=100)
    parser.add_argument("--log-path", default="/tmp/mnist-logs")
    options = parser.parse_args()
    digits = Digits(options.learning_rate, _MOMENTUM, options.batch_size, seed=1)
    for epoch in range(options.epochs):
        losses = [loss for _, loss in digits.epoch()]
        _write(Path(options.log_path) / "train", epoch, {"loss": sum(losses) / len(losses)})
        accuracy, loss = digits.tested()
        _write(Path(options.log_path) / "test", epoch, {"loss": loss, "accuracy": accuracy})
        print(f"Test Loss: {loss:.4f}, Test Accuracy: {accuracy:.4f}\n", flush=True)


def _write(folder: Path, step: int, scalars: dict[str, float]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"events.out.tfevents.{os.getpid()}").open("ab") as file:
        for tag, value in scalars.items():
            data = _event(step, tag, value)
            length = struct.pack("<Q", len(data))
            file.write(length + _checksum(length) + data + _checksum(data))


def _event(step: int, tag: str, value: float) -> bytes:
    """An ``Event`` with a ``Summary`` of one ``simple_value``."""
    named = tag.encode()
    inner = b"\x0a" + bytes([len(named)]) + named + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(inner)]) + inner
    begin = b"\x09" + struct.pack("<d", time.time()) + b"\x10" + bytes([step & 0x7F])
    return begin + b"\x2a" + bytes([len(summary)]) + summary


def _checksum(data: bytes) -> bytes:
    """The masked CRC-32C of TensorFlow's record files."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    masked = ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF
    return struct.pack("<I", masked)


if __name__ == "__main__":
    main()
