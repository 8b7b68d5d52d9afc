"""What a slow model gains from the processors its server may use.

    .venv/bin/python benchmarks/threads.py --clients 1,2,8,32

One server on one core and one on two take turns; the model is six convolutions in ONNX, of some 5
ms a row, asked for one row at a time. The second core is the client's, too. Needs Linux, wrk, and
onnx and onnxruntime here.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from serving_load import bodies
from serving_peers import Command
from serving_processes import Figures, Server, free_ports, serving

WIDTH, CHANNELS, SIDE, LAYERS = 64, 64, 32, 6


def model(file: Path) -> None:
    """A row is spread over a picture, that is filtered, and the means of its channels answered."""
    import onnx
    from onnx import helper

    random = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        values = 0.05 * random.normal(size=shape).astype(np.float32)
        return onnx.numpy_helper.from_array(values, name)

    given = [
        weights("spread", WIDTH, CHANNELS * SIDE**2),
        onnx.numpy_helper.from_array(np.array([-1, CHANNELS, SIDE, SIDE]), "picture"),
    ]
    steps = [
        helper.make_node("MatMul", ["x", "spread"], ["flat"]),
        helper.make_node("Reshape", ["flat", "picture"], ["0"]),
    ]
    for n in range(LAYERS):
        given.append(weights(f"filter {n}", CHANNELS, CHANNELS, 3, 3))
        found = helper.make_node("Conv", [f"{n}", f"filter {n}"], [f"sum {n}"], pads=[1] * 4)
        steps += [found, helper.make_node("Relu", [f"sum {n}"], [f"{n + 1}"])]
    steps.append(helper.make_node("ReduceMean", [f"{LAYERS}"], ["y"], axes=[2, 3], keepdims=0))
    takes = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", WIDTH])
    gives = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", CHANNELS])
    graph = helper.make_graph(steps, "convolutions", [takes], [gives], given)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), file)


def main() -> None:
    options = _options()
    with TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        model(folder / "model.onnx")
        bodies([0.5] * WIDTH, folder)
        servers: dict[str, Server] = {}
        for cores in ("0", "0,1"):
            ports = free_ports()
            argv = [sys.executable, "-m", "kubeling.serving.server", "--model_name=model"]
            argv += [f"--model_dir={folder}", "--format=onnx", "--enable_grpc=false"]
            argv.append(f"--http_port={ports.rest}")
            command = Command(argv, "/v2/health/ready")
            servers[cores] = stack.enter_context(serving(command, ports, cores))
        for clients in map(int, options.clients.split(",")):
            found: dict[str, list[Figures]] = {cores: [] for cores in servers}
            for _ in range(options.rounds):
                for cores, server in servers.items():
                    found[cores].append(server.measure("v1", folder, clients, options.seconds))
            _print(clients, found["0"], found["0,1"])


def _print(clients: int, one: list[Figures], two: list[Figures]) -> None:
    first, second = (statistics.median(f.rate for f in figures) for figures in (one, two))
    before, after = (statistics.median(f.p99 for f in figures) for figures in (one, two))
    print(
        f"{clients:3} clients  one core {first:6.0f}/s p99 {before:6.1f} ms  "
        f"two {second:6.0f}/s p99 {after:6.1f} ms  {second / first:4.2f}x",
        flush=True,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", default="1,2,8,32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
