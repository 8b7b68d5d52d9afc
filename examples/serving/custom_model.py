"""A model of one's own: any Python that answers a JSON request.

python custom_model.py          # then: curl -d '{"text": "hello"}' :8080/v1/models/shout:predict
"""

from collections.abc import Mapping
from typing import Any

from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.model import Model
from kubeling.serving.server.run import serve


class Shout(Model):
    """Answers in capitals."""

    def load(self) -> None:
        self.mark = "!"

    def predict(self, body: Any, headers: Mapping[str, str]) -> Any:
        if not isinstance(body, dict) or "text" not in body:
            raise InvalidInput('expected {"text": "…"}')
        return {"predictions": [body["text"].upper() + self.mark]}


if __name__ == "__main__":
    serve([Shout("shout")])
