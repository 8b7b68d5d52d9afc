"""Errors of OpenAI's API, in its shape (kserve's protocol/rest/openai/errors.py)."""

from __future__ import annotations

from http import HTTPStatus

from kubeling.serving.server.errors import ServingError
from kubeling.serving.server.openai.answers import Error, ErrorResponse

__all__ = ["OpenAIError", "create_error_response", "error_of"]

_TYPES = {
    400: "BadRequestError",
    404: "NotFoundError",
    413: "BadRequestError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    501: "NotImplementedError",
    503: "ServiceUnavailableError",
}


class OpenAIError(Exception):
    """What a model raises to say what is wrong; a text alone is answered with 500."""

    def __init__(self, response: str | ErrorResponse) -> None:
        super().__init__(response)
        self.response = response

    def __str__(self) -> str:
        found = self.response
        return found.error.message if isinstance(found, ErrorResponse) else found


def create_error_response(
    message: str,
    err_type: str = "BadRequestError",
    param: str | None = "",
    status_code: HTTPStatus | int = HTTPStatus.BAD_REQUEST,
) -> ErrorResponse:
    """An error in OpenAI's shape."""
    code = str(int(status_code))
    return ErrorResponse(error=Error(message=message, type=err_type, param=param, code=code))


def error_of(error: BaseException, param: str | None = None) -> ErrorResponse:
    """Any error in OpenAI's shape; ``param`` is the field it is about."""
    if isinstance(error, OpenAIError):
        if isinstance(error.response, ErrorResponse):
            return error.response
        return create_error_response(str(error), "OpenAIError", param, 500)
    if isinstance(error, ServingError):
        status = error.http_status
        return create_error_response(
            str(error), _TYPES.get(status, "InternalServerError"), param, status
        )
    if isinstance(error, NotImplementedError):
        return create_error_response(str(error), _TYPES[501], param, 501)
    return create_error_response(
        f"{type(error).__name__}: {error}", "InternalServerError", param, 500
    )
