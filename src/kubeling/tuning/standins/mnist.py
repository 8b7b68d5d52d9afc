"""``/opt/pytorch-mnist/mnist.py`` of ``kubeflow/katib/pytorch-mnist-cpu``, on digits.

Flags and lines: ``examples/v1beta1/trial-images/pytorch-mnist/mnist.py`` of Katib. Every worker of
a distributed job trains by itself: the network is too small to share.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

from kubeling.tuning.standins.digits import Digits

_TIMES = "%Y-%m-%dT%H:%M:%SZ"


def main() -> None:
    """Trains, and logs as the image does."""
    options = _options()
    to_file = options.log_path and options.logger != "hypertune"
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        format="%(asctime)s %(levelname)-8s %(message)s",
        datefmt=_TIMES,
        level=logging.INFO,
        filename=options.log_path if to_file else None,
    )
    digits = Digits(options.lr, options.momentum, options.batch_size, options.seed)
    for epoch in range(1, options.epochs + 1):
        for number, (learnt, loss) in enumerate(digits.epoch()):
            if number % options.log_interval == 0:
                share = f"[{learnt}/{len(digits)} ({100 * learnt / len(digits):.0f}%)]"
                logging.info("Train Epoch: %s %s\tloss=%.4f", epoch, share, loss)
        accuracy, loss = digits.tested()
        logging.info(
            "{metricName: accuracy, metricValue: %.4f};{metricName: loss, metricValue: %.4f}\n",
            accuracy,
            loss,
        )
        if options.logger == "hypertune":
            _report(Path(options.log_path), epoch, {"loss": loss, "accuracy": accuracy})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mnist.py", description=__doc__)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--test-batch-size", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--momentum", type=float, default=0.5)
    parser.add_argument("--no-cuda", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log-interval", type=int, default=10)
    parser.add_argument("--log-path", default="")
    parser.add_argument("--save-model", action="store_true")
    parser.add_argument("--logger", choices=["standard", "hypertune"], default="standard")
    parser.add_argument("--backend", choices=["gloo", "nccl", "mpi"], default="gloo")
    return parser.parse_args()


def _report(path: Path, epoch: int, metrics: dict[str, float]) -> None:
    """Lines of JSON as the ``hypertune`` package writes them."""
    with path.open("a") as file:
        for name, value in metrics.items():
            line = {"timestamp": time.time(), "trial": "0", name: str(value)}
            print(json.dumps({**line, "global_step": str(epoch)}), file=file)


if __name__ == "__main__":
    main()
