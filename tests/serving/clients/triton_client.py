"""What users do with tritonclient, over HTTP and gRPC; run in its own environment, prints JSON."""

import json
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

ROWS = np.array([[1, 2], [3, 4]], dtype=np.float32)


def ask(module: Any, client: Any, binary: dict[str, bool], **options: Any) -> list[float]:
    tensor = module.InferInput("x", [2, 2], "FP32")
    tensor.set_data_from_numpy(ROWS, **binary)
    answer = client.infer("double", [tensor], request_id="9", **options)
    return answer.as_numpy("output-0").tolist()


def what_both_do(module: Any, client: Any) -> dict[str, Any]:
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model": client.is_model_ready("double"),
    }
    client.load_model("double")
    outputs = [module.InferRequestedOutput("output-0")]
    found["named output"] = ask(module, client, {}, outputs=outputs)
    classes = [module.InferRequestedOutput("output-0", class_count=1)]
    for title, refused in (
        ("unknown", lambda: client.infer("nope", [])),
        ("classes", lambda: ask(module, client, {}, outputs=classes)),
        ("override", lambda: client.load_model("double", config="{}")),
    ):
        try:
            refused()
        except InferenceServerException as error:
            found[title] = error.message()
    return found


def over_http(port: str) -> dict[str, Any]:
    client = triton_http.InferenceServerClient(f"127.0.0.1:{port}")
    found = what_both_do(triton_http, client)
    metadata = client.get_model_metadata("double")
    return found | {
        "metadata": [metadata["inputs"][0]["datatype"], metadata["inputs"][0]["shape"]],
        "index": client.get_model_repository_index()[0]["state"],
        "json": ask(triton_http, client, {"binary_data": False}),
        "binary": ask(triton_http, client, {"binary_data": True}),
        "packed": ask(triton_http, client, {}, request_compression_algorithm="gzip"),
    }


def over_grpc(port: str) -> dict[str, Any]:
    client = triton_grpc.InferenceServerClient(f"127.0.0.1:{port}")
    found = what_both_do(triton_grpc, client)
    metadata = client.get_model_metadata("double")
    return found | {
        "metadata": [metadata.inputs[0].datatype, list(metadata.inputs[0].shape)],
        "index": client.get_model_repository_index().models[0].state,
        "binary": ask(triton_grpc, client, {}),
        "packed": ask(triton_grpc, client, {}, compression_algorithm="gzip"),
    }


print(json.dumps({"http": over_http(sys.argv[1]), "grpc": over_grpc(sys.argv[2])}))
