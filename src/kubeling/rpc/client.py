"""Calling a service: one connection for one call, which are few and far between."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Mapping
from typing import Final, TypeVar

from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from kubeling.rpc.calls import Code, Method, RpcError
from kubeling.rpc.codec import Codec
from kubeling.rpc.wire import Message, MessageError

__all__ = ["DEADLINE", "call"]

DEADLINE: Final = 60.0
"""Seconds Katib gives a suggestion service."""

_KATIB_PORT: Final = 6789

Asked = TypeVar("Asked", bound=Message)
Answered = TypeVar("Answered", bound=Message)


async def call(
    address: str,
    method: Method[Asked, Answered],
    request: Asked,
    deadline: float = DEADLINE,
    *,
    metadata: Mapping[str, str] | None = None,
    port: int = _KATIB_PORT,
    secure: bool = False,
) -> Answered:
    """Calls ``host:port``, or ``host`` at the given port, over TLS if ``secure``; raises
    :class:`RpcError`.
    """
    url = urllib.parse.urlsplit(address if "//" in address else f"//{address}")
    channel = Channel(url.hostname, url.port or port, ssl=secure or None, codec=Codec())
    where = f"{method.service.rpartition('.')[2]} at {address}"
    with contextlib.closing(channel):
        ask = UnaryUnaryMethod[Asked, Answered](channel, method.path, method.request, method.reply)
        try:
            return await ask(request, timeout=deadline, metadata=metadata)
        except GRPCError as error:
            code = Code.of(error.status.value)
            raise RpcError(code, error.message or code.name) from error
        except MessageError as error:
            raise RpcError(
                Code.INTERNAL, f"{where} answered with something else: {error}"
            ) from error
        except TimeoutError:
            text = f"{where} did not answer within {deadline:g} s"
            raise RpcError(Code.DEADLINE_EXCEEDED, text) from None
        except StreamTerminatedError as error:
            raise RpcError(Code.UNAVAILABLE, f"{where} broke off the call") from error
        except (OSError, ProtocolError) as error:
            raise RpcError(Code.UNAVAILABLE, f"{where} cannot be reached: {error}") from error
