"""A model behind bare Starlette on Uvicorn, with uvloop, httptools and orjson.

Usage: starlette_serving.py FOLDER PORT GRPC_PORT WORKERS
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import uvicorn
from serving_models import load
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PATH = "/v1/models/model:predict"


def made() -> Starlette:
    model: Any = load(Path(os.environ["FOLDER"]))

    async def predict(request: Request) -> Response:
        rows = orjson.loads(await request.body())["instances"]
        found = {"predictions": model(np.asarray(rows)).tolist()}
        return Response(orjson.dumps(found), media_type="application/json")

    async def ready(_: Request) -> Response:
        return Response(b"{}")

    return Starlette(routes=[Route(PATH, predict, methods=["POST"]), Route("/", ready)])


if __name__ == "__main__":
    os.environ["FOLDER"] = sys.argv[1]
    port, workers = int(sys.argv[2]), int(sys.argv[4])
    options: dict[str, Any] = {"loop": "uvloop", "http": "httptools", "access_log": False}
    uvicorn.run("starlette_serving:made", port=port, workers=workers, factory=True, **options)
