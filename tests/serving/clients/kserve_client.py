"""What users do with the clients of kserve's SDK; run in its own environment, prints JSON."""

import asyncio
import json
import sys

import numpy as np
from kserve import (
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)
from kserve.protocol.infer_type import RequestedOutput

REST, GRPC = f"http://127.0.0.1:{sys.argv[1]}", f"127.0.0.1:{sys.argv[2]}"
ROWS = np.array([[1, 2], [3, 4]], dtype=np.float32)


def request(binary: bool, asks: bool = False) -> InferRequest:
    tensor = InferInput("x", [2, 2], "FP32")
    tensor.set_data_from_numpy(ROWS, binary_data=binary)
    outputs = [RequestedOutput("output-0", {"binary_data": True})] if asks else None
    return InferRequest("double", [tensor], request_id="7", request_outputs=outputs)


async def main() -> None:
    v1 = InferenceRESTClient(RESTConfig(protocol="v1"))
    v2 = InferenceRESTClient(RESTConfig(protocol="v2"))
    found = {
        "live": [await v1.is_server_live(REST), await v2.is_server_live(REST)],
        "ready": [await v2.is_server_ready(REST), await v2.is_model_ready(REST, "double")],
        "v1": await v1.infer(REST, {"instances": ROWS.tolist()}, model_name="double"),
    }
    for name, asked in {
        "json": request(False),
        "binary": request(True),
        "binary answer": request(True, asks=True),
    }.items():
        answer = await v2.infer(REST, asked, model_name="double")
        found[name] = [answer.id, answer.outputs[0].as_numpy().tolist()]
    async with InferenceGRPCClient(GRPC) as grpc:
        found["grpc ready"] = [
            await grpc.is_server_live(),
            await grpc.is_server_ready(),
            await grpc.is_model_ready("double"),
        ]
        for name, asked in {"grpc": request(False), "grpc raw": request(True)}.items():
            answer = await grpc.infer(asked)
            found[name] = [answer.id, answer.outputs[0].as_numpy().tolist()]
    print(json.dumps(found))


asyncio.run(main())
