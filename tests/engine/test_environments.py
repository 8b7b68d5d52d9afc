"""Python environments: built once, from where the user says, and given up when unused."""

import asyncio
import base64
import hashlib
import os
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.memory_api import MemoryApi
from tests.engine.node import container, pod, running_node
from tests.engine.wheels import make_wheel, make_wheels, serve

from kubeling.engine.building import PullError
from kubeling.engine.envfolder import COMPLETE
from kubeling.engine.environments import Environments
from kubeling.engine.envstore import GRACE_SECONDS, Stored, collect, environments_in_use, unneeded
from kubeling.engine.images import ImageEntry, PythonEnvironment
from kubeling.kube.clock import SystemClock
from kubeling.kube.objects import Obj
from kubeling.kube.resources import PODS

DAY = 86_400.0


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose uv.toml knows a folder of wheels and nothing else."""
    for name in [n for n in os.environ if n.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / ".config"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "workspace"
    folder.mkdir()
    links = make_wheels(tmp_path / "wheels", "tiny")
    (folder / "uv.toml").write_text(f'no-index = true\nfind-links = ["{links}"]\n')
    return folder


@pytest.fixture
def environments(tmp_path: Path, workspace: Path) -> Environments:
    return Environments(tmp_path / "envs", workspace)


def entry(*requirements: str) -> ImageEntry:
    return ImageEntry(python=PythonEnvironment(requirements))


def installed(environment: object, package: str) -> bool:
    (folder,) = environment.path  # type: ignore[attr-defined]
    return bool(list(folder.parent.glob(f"lib/*/site-packages/{package}.py")))


# Where packages come from.


async def test_uv_s_own_settings_in_the_workspace_count(environments: Environments) -> None:
    told: list[str] = []
    built = await environments.prepare(entry("tiny"), told.append)
    assert installed(built, "tiny")
    assert built.size > 0
    text = ", ".join(told)
    assert "Resolved 1 package in " in text
    assert "Installed 1 package in " in text


async def test_what_is_optional_comes_with_the_rest_or_not_at_all(
    tmp_path: Path, environments: Environments
) -> None:
    make_wheels(tmp_path / "wheels", "extra")
    for optional, comes in (("extra", True), ("nowhere", False)):
        python = PythonEnvironment(("tiny",), optional=(optional,))
        built = await environments.prepare(ImageEntry(python=python))
        assert installed(built, "tiny")
        assert installed(built, "extra") is comes


async def test_pip_s_settings_count_where_uv_has_none(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / "uv.toml").unlink()
    file = tmp_path / "pip.conf"
    file.write_text(
        f"[global]\nno-index = true\nfind-links = {tmp_path / 'wheels'} {tmp_path / 'none'}\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("UV_OFFLINE", "1")  # for the seeds, too, only the folder is left
    built = await Environments(tmp_path / "envs", workspace).prepare(entry("tiny"))
    assert installed(built, "tiny")


async def test_what_is_in_uv_s_cache_needs_no_network(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, address = await serve(tmp_path / "wheels")
    (workspace / "uv.toml").unlink()
    monkeypatch.setenv("PIP_INDEX_URL", address)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    await Environments(tmp_path / "first", workspace).prepare(entry("tiny"))
    await runner.cleanup()
    again = await Environments(tmp_path / "second", workspace).prepare(entry("tiny"))
    assert installed(again, "tiny")
    with pytest.raises(PullError, match="see to the network") as failed:
        await Environments(tmp_path / "third", workspace).prepare(entry("other"))
    assert "other was not found in the cache" in str(failed.value)
    assert "and it could not be fetched: " in str(failed.value)


async def test_what_is_built_is_not_asked_for_again(
    environments: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = await environments.prepare(entry("tiny"))
    monkeypatch.setattr("uv.find_uv_bin", _fail)
    assert await environments.prepare(entry("tiny")) == built


def _fail() -> str:
    raise AssertionError("uv is not needed")


# What every environment begins with.


def site(home: Path) -> Path:
    (found,) = home.glob("lib/*/site-packages")
    return found


async def said(program: Path, *arguments: str) -> str:
    run = partial(subprocess.run, capture_output=True, text=True, check=True)
    return str((await asyncio.to_thread(run, [program, *arguments])).stdout)


async def test_all_begin_with_pip_as_it_was_found_first(
    tmp_path: Path, environments: Environments
) -> None:
    (first,) = (await environments.prepare(entry("tiny"))).path
    make_wheel(tmp_path / "wheels", "pip", "2")
    (second,) = (await environments.prepare(entry("tiny>=1"))).path
    assert [pip.name for pip in site(second.parent).glob("pip-*")] == ["pip-1.dist-info"]
    assert first != second


async def test_scripts_name_the_environment_that_they_are_in(
    tmp_path: Path, environments: Environments
) -> None:
    make_wheel(tmp_path / "wheels", "pip", script="say")
    (programs,) = (await environments.prepare(entry("tiny"))).path
    assert await said(programs / "say") == f"{programs.parent}\n"
    assert f"VIRTUAL_ENV='{programs.parent}'" in (programs / "activate").read_text()
    (line,) = (
        n
        for n in (site(programs.parent) / "pip-1.dist-info" / "RECORD").read_text().splitlines()
        if "bin/say" in n
    )
    digest = hashlib.sha256((programs / "say").read_bytes()).digest()
    assert f"sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')}," in line


async def test_nobody_is_given_one_that_is_still_being_built(
    environments: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, link, given = entry("tiny"), os.link, []

    def linked(source: str, target: str) -> None:
        link(source, target)
        given.append(environments.ready(wanted))

    monkeypatch.setattr(os, "link", linked)
    await environments.prepare(wanted)
    assert given
    assert not any(given)
    assert environments.ready(wanted) is not None


async def test_programs_of_packages_run_in_the_environment_that_they_are_in(
    tmp_path: Path, environments: Environments
) -> None:
    make_wheel(tmp_path / "wheels", "teller", script="tell")
    await environments.make_ready(NoPause())
    for requirement in ("teller", "teller>=1"):  # the first begins as the copy made ahead
        (programs,) = (await environments.prepare(entry(requirement))).path
        assert await said(programs / "tell") == f"{programs.parent}\n"
        record = (site(programs.parent) / "teller-1.dist-info" / "RECORD").read_text()
        (line,) = (n for n in record.splitlines() if "bin/tell" in n)
        digest = hashlib.sha256((programs / "tell").read_bytes()).digest()
        assert f"sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')}," in line
        assert not [
            file
            for file in programs.iterdir()
            if file.is_file()
            and not file.is_symlink()
            and set(re.findall(rb"envs/([.\w]+)", file.read_bytes()))
            - {programs.parent.name.encode()}
        ]


async def test_another_version_of_what_all_begin_with_can_be_asked_for(
    tmp_path: Path, environments: Environments
) -> None:
    plain = await environments.prepare(entry("tiny"))
    make_wheel(tmp_path / "wheels", "pip", version="2")
    (programs,) = (await environments.prepare(entry("pip==2"))).path
    (before,) = plain.path
    for home, version in ((programs.parent, "2"), (before.parent, "1")):
        assert f"version = '{version}'" in (site(home) / "pip.py").read_text()
        assert (site(home) / f"pip-{version}.dist-info").exists()


async def test_what_is_changed_in_one_is_not_changed_in_others(
    environments: Environments,
) -> None:
    (first,) = (await environments.prepare(entry("tiny"))).path
    await said(first / "python", "-m", "compileall", "-q", str(site(first.parent)))
    (site(first.parent) / "pip.py").unlink()
    (second,) = (await environments.prepare(entry("tiny>=1"))).path
    assert (site(second.parent) / "pip.py").exists()


async def test_it_is_made_again_when_its_python_is_gone(
    tmp_path: Path, environments: Environments
) -> None:
    await environments.prepare(entry("tiny"))
    for python in (tmp_path / "envs").glob("*/bin/python"):
        python.unlink()
        python.symlink_to(tmp_path / "gone")
    (programs,) = (await environments.prepare(entry("tiny>=1"))).path
    assert (programs / "python").exists()


async def test_it_is_made_ahead_of_what_is_in_the_cache_and_nothing_is_asked_for(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / "uv.toml").unlink()
    runner, address = await serve(tmp_path / "wheels")
    monkeypatch.setenv("PIP_INDEX_URL", address)
    before = Environments(tmp_path / "before", workspace)
    await before.make_ready(NoPause())
    assert not list((tmp_path / "before").glob("*/complete"))
    await before.prepare(entry("tiny"))
    await runner.cleanup()
    ahead = Environments(tmp_path / "ahead", workspace)
    await ahead.make_ready(NoPause())
    (seed,) = (tmp_path / "ahead").glob("*/complete")
    assert (site(seed.parent) / "pip.py").exists()


class NoPause(SystemClock):
    async def sleep(self, seconds: float) -> None:
        pass


async def test_modules_are_compiled_in_the_end(environments: Environments) -> None:
    (programs,) = (await environments.prepare(entry("tiny"))).path
    compiled = site(programs.parent) / "__pycache__" / f"tiny.{sys.implementation.cache_tag}.pyc"
    await asyncio.to_thread(_wait_for, compiled)


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} is not made"
        time.sleep(0.02)


# Failures.


@pytest.mark.parametrize(
    ("requirement", "cause", "remedy"),
    [
        ("no-such-package", "no-such-package was not found", "check its name, and where"),
        ("tiny==7", "tiny==7", "change the versions"),
        ("tiny=>1", 'no such comparison operator "=>"', "spell the requirement as pip does"),
        ("needy", "missing-part was not found", "check its name, and where"),
    ],
)
async def test_a_failure_names_the_package_and_what_to_do(
    environments: Environments, tmp_path: Path, requirement: str, cause: str, remedy: str
) -> None:
    make_wheel(tmp_path / "wheels", "needy", requires="missing-part")
    with pytest.raises(PullError) as failed:
        await environments.prepare(entry(requirement))
    assert cause in str(failed.value)
    assert remedy in str(failed.value)
    assert environments.ready(entry(requirement)) is None


async def test_of_a_failed_build_the_last_word_is_told(
    environments: Environments, tmp_path: Path
) -> None:
    source = tmp_path / "broken"
    source.mkdir()
    (source / "pyproject.toml").write_text(
        '[project]\nname = "broken"\nversion = "1"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (source / "backend.py").write_text("raise RuntimeError('there is no compiler')\n")
    with pytest.raises(PullError) as failed:
        await environments.prepare(entry(str(source)))
    assert "Failed to build `broken @" in str(failed.value)
    assert "RuntimeError: there is no compiler" in str(failed.value)
    assert "install what its build needs" in str(failed.value)


async def test_a_pod_shows_the_progress_and_the_failure(
    tmp_path: Path, api: MemoryApi, workspace: Path
) -> None:
    images = {name: {"python": {"requirements": [name]}} for name in ("tiny", "absent")}
    async with running_node(tmp_path / "data", api, images=images) as node:
        main = container(image="tiny", command=["python", "-c", "import tiny; print(tiny.version)"])
        await node.run(pod("p", main))
        assert await node.logs("p") == "1\n"
        await node.seen_event("Pulling", 'Pulling image "tiny"')
        await node.seen_event("Pulling", 'Image "tiny": Resolved 1 package')
        pulled = await node.seen_event("Pulled", 'Successfully pulled image "tiny" in ')
        assert " Image size: " in pulled["message"]
        await node.create(pod("q", container(image="absent", command=["true"])))
        waiting = await node.until("q", lambda p: _waiting(p).get("reason") == "ErrImagePull")
        assert "absent was not found" in _waiting(waiting)["message"]
        await node.seen_event("Failed", 'Failed to pull image "absent": ')


def _waiting(obj: Obj) -> Obj:
    statuses = obj["status"].get("containerStatuses") or [{"state": {}}]
    return statuses[0]["state"].get("waiting") or {}


# What is given up.

ages = st.floats(0, 100 * DAY)


def _numbered(found: list[tuple[int, float]]) -> list[Stored]:
    return [Stored(str(n), size, -age) for n, (size, age) in enumerate(found)]


stores = st.lists(st.tuples(st.integers(1, 1000), ages), max_size=12).map(_numbered)


@given(stores, st.sets(st.integers(0, 12).map(str)), ages, st.integers(0, 3000))
def test_what_is_used_stays_and_what_goes_was_longest_unused(
    stored: list[Stored], in_use: set[str], max_age: float, max_size: int
) -> None:
    gone = unneeded(stored, in_use, 0.0, max_age=max_age, max_size=max_size)
    kept = [s for s in stored if s.name not in gone]
    bound = {s.name for s in stored if s.name in in_use or -s.used_at < GRACE_SECONDS}
    assert not bound & set(gone)
    free = [s for s in kept if s.name not in bound]
    if max_age:
        assert all(-s.used_at <= max_age for s in free)
    if max_size and sum(s.size for s in kept) > max_size:
        assert not free
    used_at = {s.name: s.used_at for s in stored}
    assert sorted(gone, key=used_at.__getitem__) == gone


async def test_old_ones_and_what_a_crash_left_are_removed(
    tmp_path: Path, api: MemoryApi, workspace: Path
) -> None:
    async with running_node(tmp_path / "data", api) as node:
        paths = node.engine.config.paths
        environments = Environments(paths.environments, workspace)
        old = (await environments.prepare(entry("tiny"))).path[0].parent
        fresh = (await environments.prepare(entry("tiny==1"))).path[0].parent
        broken = (await environments.prepare(entry("tiny>=1"))).path[0].parent
        (broken / COMPLETE).unlink()
        _last_used(old, days_ago=31)
        gone = await collect(paths, time.time(), _none, max_age=30 * DAY, max_size=0)
        assert set(gone) == {old.name, broken.name}
        left = [home for home in paths.environments.iterdir() if list(site(home).glob("tiny*"))]
        assert left == [fresh]
        assert environments.ready(entry("tiny")) is None
        assert installed(await environments.prepare(entry("tiny")), "tiny")


async def test_what_runs_keeps_its_environment_also_over_a_crash(
    tmp_path: Path, api: MemoryApi, workspace: Path
) -> None:
    images = {"tiny": {"python": {"requirements": ["tiny"]}}}
    async with running_node(tmp_path / "data", api, images=images, end_pods=False) as node:
        script = "import time; print('up', flush=True); time.sleep(60)"
        await node.create(pod("p", container(image="tiny", command=["python", "-c", script])))
        await node.running("p")
        paths = node.engine.config.paths
        (name,) = environments_in_use(paths)
        home = paths.environments / name
    _last_used(home, days_ago=365)
    async with running_node(tmp_path / "data", api, images=images) as node:
        assert await collect(paths, time.time(), _none, max_age=DAY, max_size=1) == []
        await node.client.delete(PODS, "p", "default", grace_period_seconds=0)
        await node.gone("p")
    assert await collect(paths, time.time(), _none, max_age=DAY, max_size=0) == [name]


def _last_used(home: Path, days_ago: float) -> None:
    moment = time.time() - days_ago * DAY
    os.utime(home / COMPLETE, (moment, moment))


def _none(name: str) -> bool:
    return False
