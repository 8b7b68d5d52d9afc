"""The containers that move artifacts, and the lines of shell by which a step talks to the keeper.

What they do is in :mod:`kubeling.artifacts.transfer`. Secrets reach them as variables, and the step
itself never sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from kubeling.artifacts.plan import Transfer

__all__ = [
    "EXCHANGE_PATH",
    "EXCHANGE_VOLUME",
    "HAND_OVER",
    "IMAGE",
    "LOADER",
    "TRAP",
    "WAIT",
    "mover",
]

EXCHANGE_PATH: Final = "/kubeling/exchange"
EXCHANGE_VOLUME: Final = "kubeling-exchange"
LOADER: Final = "artifacts-load"
IMAGE: Final = "kubeling/artifacts"

TRAP: Final = r"""
pid=
hit=
trap 'hit=1; [ -z "$pid" ] || kill -TERM $pid' TERM INT
"""
"""Hands signals on to the command that is started in the background next."""

WAIT: Final = r"""
pid=$!
[ -z "$hit" ] || kill -TERM $pid
wait $pid; code=$?
while [ "$hit" ]; do
  hit=
  wait $pid; again=$?
  [ $again = 127 ] || code=$again
done
"""
"""Waits for that command, whatever is handed on to it, and leaves its exit ``code``."""

HAND_OVER: Final = rf"""
x={EXCHANGE_PATH}
hand_over() {{
  [ -e "$x/.offered" ] || return 0
  mv "$x/.offered" "$x/offered"
  [ -p "$x/wake" ] || mkfifo "$x/wake" 2>/dev/null
  echo >"$x/wake"
  until [ -e "$x/answered" ]; do sleep 0.1 2>/dev/null || sleep 1; done
  [ ! -s "$x/answered" ] || fail "$(head -n 1 "$x/answered")"
}}
"""
"""Hands what is named in ``.offered`` to the keeper; ``fail`` is told the first problem."""


def mover(
    action: str,
    transfers: Sequence[Transfer],
    env: Iterable[dict[str, Any]],
    mounts: Iterable[dict[str, Any]] = (),
) -> dict[str, Any]:
    """A container that loads, keeps or deletes artifacts; ``env`` has their secrets.

    A keeper is an init container with ``restartPolicy: Always``: it goes on when the step runs, and
    ends after it.
    """
    variables = [
        {"name": "KUBELING_ARTIFACTS", "value": msgspec.json.encode(transfers).decode()},
        {"name": "KUBELING_EXCHANGE", "value": EXCHANGE_PATH},
    ]
    container: dict[str, Any] = {
        "name": f"artifacts-{action}",
        "image": IMAGE,
        "command": ["python", "-m", "kubeling.artifacts", action],
        "env": [*variables, *env],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if mounted := list(mounts):
        container["volumeMounts"] = mounted
    if action == "keep":
        container["restartPolicy"] = "Always"
    return container
