"""The demo waits for a platform that went away, follows it, and says how to bring it back."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from kubeling.cli.demo_run.link import Link, StageFailed, Unavailable
from kubeling.cli.instance import Endpoints, Instance
from kubeling.kube.objects import Obj

NOBODY = 2**22 + 1
"""No process has this id: it is above what systems give out."""


def endpoints(data_dir: Path, *, pid: int, port: int) -> Endpoints:
    kubeconfig = data_dir / "kubeconfig"
    server = f"https://127.0.0.1:{port}"
    document: Obj = {
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {"token": "secret"}}],
        "contexts": [{"name": "it", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "it",
    }
    kubeconfig.write_bytes(msgspec.json.encode(document))
    return Endpoints(
        pid=pid,
        version="1",
        dashboard=f"http://127.0.0.1:{port}",
        api_server=server,
        kubeconfig=str(kubeconfig),
        workspace="/home/me/work",
        started_at="2026-01-01T00:00:00Z",
        gateway_port=port,
        api_port=port,
    )


def away(error: Exception, times: int) -> Callable[[], Awaitable[str]]:
    """Something that fails a few times before it succeeds."""
    left = iter(range(times))

    async def act() -> str:
        for _ in left:
            raise error
        return "done"

    return act


@pytest.mark.parametrize("error", [ConnectionError("refused"), Unavailable("503")])
async def test_it_waits_and_says_how_to_start_the_platform(
    tmp_path: Path, error: Exception
) -> None:
    link = Link(Instance(tmp_path), endpoints(tmp_path, pid=NOBODY, port=1))
    said: list[str] = []
    link.waiting = said.append
    assert await link.lasting(away(error, 2)) == "done"
    remedy = f"kubeling up --detach --data-dir {tmp_path} --workspace /home/me/work"
    assert said == [f"waiting for the platform; start it with: {remedy}"] * 2


async def test_it_follows_a_platform_to_its_new_address(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    link = Link(instance, endpoints(tmp_path, pid=NOBODY, port=1))
    instance.write_endpoints(endpoints(tmp_path, pid=os.getpid(), port=2))
    assert await link.lasting(away(ConnectionError("refused"), 1)) == "done"
    assert link.endpoints.dashboard == "http://127.0.0.1:2"


async def test_a_platform_that_lives_is_quoted(tmp_path: Path) -> None:
    link = Link(Instance(tmp_path), endpoints(tmp_path, pid=os.getpid(), port=1))
    said: list[str] = []
    link.waiting = said.append
    await link.lasting(away(Unavailable("breast-cancer is not ready"), 1))
    assert said == ["waiting: breast-cancer is not ready"]


async def test_it_gives_up_in_the_end(tmp_path: Path) -> None:
    link = Link(Instance(tmp_path), endpoints(tmp_path, pid=NOBODY, port=1), patience=0)
    with pytest.raises(StageFailed, match="did not answer for 0 s: refused") as failed:
        await link.lasting(away(ConnectionError("refused"), 5))
    assert failed.value.hint.endswith("then run kubeling demo again.")


async def test_a_refusal_is_not_tried_again(tmp_path: Path) -> None:
    link = Link(Instance(tmp_path), endpoints(tmp_path, pid=os.getpid(), port=1))
    with pytest.raises(StageFailed, match="no such model"):
        await link.lasting(away(StageFailed("no such model"), 1))
