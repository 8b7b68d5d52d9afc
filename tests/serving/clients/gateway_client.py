"""Clients of gRPC at a gateway, which serves by host; run in their own environments, print JSON."""

import asyncio
import json
import sys
from typing import Any

import numpy as np

LIBRARY, PORT, HOST = sys.argv[1:]
ADDRESS = f"127.0.0.1:{PORT}"
AUTHORITY = [("grpc.default_authority", HOST)]
ROWS = np.array([[1, 2], [3, 4]], dtype=np.float32)


async def with_kserve() -> dict[str, Any]:
    from kserve import InferenceGRPCClient, InferInput, InferRequest

    def request() -> InferRequest:
        tensor = InferInput("x", [2, 2], "FP32")
        tensor.set_data_from_numpy(ROWS, binary_data=True)
        return InferRequest("double", [tensor])

    async with InferenceGRPCClient(ADDRESS, channel_args=AUTHORITY) as client:
        found = {
            "ready": await client.is_model_ready("double"),
            "infer": (await client.infer(request())).outputs[0].as_numpy().tolist(),
        }
    async with InferenceGRPCClient(ADDRESS) as client:
        answer = await client.infer(request(), headers=[("x-forwarded-host", HOST)])
        return found | {"by metadata": answer.outputs[0].as_numpy().tolist()}


def with_triton() -> dict[str, Any]:
    from tritonclient.grpc import InferenceServerClient, InferInput

    def tensor() -> InferInput:
        made = InferInput("x", [2, 2], "FP32")
        made.set_data_from_numpy(ROWS)
        return made

    client = InferenceServerClient(ADDRESS, channel_args=AUTHORITY)
    found = {
        "ready": client.is_model_ready("double"),
        "infer": client.infer("double", [tensor()]).as_numpy("output-0").tolist(),
    }
    client = InferenceServerClient(ADDRESS)
    answer = client.infer("double", [tensor()], headers={"x-forwarded-host": HOST})
    return found | {"by metadata": answer.as_numpy("output-0").tolist()}


print(json.dumps(asyncio.run(with_kserve()) if LIBRARY == "kserve" else with_triton()))
