"""A model as users write it for ``kserve``, with the package that it imports changed."""

import argparse
import base64
import io

import numpy as np

from kubeling.serving.kserve import (
    InferOutput,
    InferRequest,
    InferResponse,
    Model,
    ModelServer,
    logging,
    model_server,
)
from kubeling.serving.kserve.errors import InvalidInput
from kubeling.serving.kserve.model_server import app
from kubeling.serving.kserve.utils.utils import generate_uuid


class CORSMiddleware:
    """Stands for FastAPI's, of which the options matter."""


class Brightness(Model):
    def __init__(self, name: str):
        super().__init__(name, return_response_headers=True)
        self.ready = False
        self.load()

    def load(self):
        self.scale = 255
        self.ready = True

    def preprocess(self, payload: dict | InferRequest, headers: dict[str, str] | None = None):
        if isinstance(payload, dict) and "instances" in payload:
            headers["request-type"] = "v1"
            raw = base64.b64decode(payload["instances"][0]["image"]["b64"])
        elif isinstance(payload, InferRequest):
            tensor = payload.inputs[0]
            if tensor.datatype != "BYTES":
                return tensor.as_numpy()
            raw = tensor.data[0] if payload.from_grpc else base64.b64decode(tensor.data[0])
        else:
            raise InvalidInput("invalid payload")
        return np.frombuffer(io.BytesIO(raw).read(), dtype=np.uint8)

    def predict(self, pixels, headers: dict[str, str] | None = None, response_headers=None):
        result = [float(pixels.mean() / self.scale)]
        response_headers.update({"pixels": str(pixels.size)})
        if headers.get("request-type") == "v1":
            return {"predictions": result}
        output = InferOutput(name="output-0", shape=[1], datatype="FP32", data=result)
        return InferResponse(
            model_name=self.name, infer_outputs=[output], response_id=generate_uuid()
        )


parser = argparse.ArgumentParser(parents=[model_server.parser])
args, _ = parser.parse_known_args()

if __name__ == "__main__":
    if args.configure_logging:
        logging.configure_logging(args.log_config_file)
    model = Brightness(args.model_name)
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])
    ModelServer().start([model])
