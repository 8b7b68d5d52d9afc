"""A container engine for tests: podman or docker, storage of its own, an image made on the spot."""

import contextlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.mounts import unmount_all

IMAGE = "localhost/kubeling-test:1"
_START_SECONDS = 60
_APPLETS = (
    "cat", "cp", "echo", "env", "grep", "hostname", "id", "nc", "pwd", "sh", "sleep", "stty", "tar",
    "test", "touch", "true",
)  # fmt: skip


def busybox() -> str | None:
    """A busybox that needs no libraries (Debian's busybox-static)."""
    found = shutil.which("busybox")
    if found is None or b"statically linked" in _ldd(found):
        return found
    return None


def _ldd(program: str) -> bytes:
    done = subprocess.run(["ldd", program], capture_output=True, check=False)
    text = done.stdout + done.stderr
    return b"statically linked" if b"not a dynamic executable" in text else text


def root_archive(folder: Path, program: str) -> Path:
    """The smallest file system with a shell, as a tar archive."""
    root = folder / "root"
    for name in ("bin", "etc", "tmp", "home"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home:\n")
    (root / "etc" / "group").write_text("root:x:0:\nuser:x:1000:\n")
    shutil.copy(program, root / "bin" / "busybox")
    for applet in _APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    archive = folder / "root.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(root, ".")
    return archive


@contextlib.contextmanager
def usable(engine: str) -> Iterator[None]:
    """An engine whose images and containers are the tests' own; skips them where there is none."""
    if shutil.which(engine) is None or busybox() is None:
        pytest.skip(f"needs {engine} and busybox-static")
    with tempfile.TemporaryDirectory(prefix="kt-") as text, pytest.MonkeyPatch.context() as patch:
        folder = Path(text)
        if engine == "podman":
            file = folder / "storage.conf"
            file.write_text(
                f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/g"\nrunroot = "{folder}/r"\n'
            )
            patch.setenv("CONTAINERS_STORAGE_CONF", str(file))
        with _daemon(folder, patch) if engine == "docker" else contextlib.nullcontext():
            _run(engine, "info")
            try:
                yield
            finally:
                if engine == "podman":  # its mounts
                    _run(engine, "system", "reset", "--force")


@contextlib.contextmanager
def _daemon(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The docker daemon of this machine or, where none answers, one of the tests' own."""
    program = shutil.which("dockerd") or shutil.which("dockerd", path="/usr/sbin")
    if _answers() or program is None or os.geteuid() != 0:
        yield
        return
    (folder / "daemon.json").write_text("{}")
    socket = f"unix://{folder}/docker.sock"
    folders = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    command = [
        *(program, "--host", socket, "--config-file", str(folder / "daemon.json")),
        *(f"--{option}={folder / name}" for option, name in folders.items()),
        # Containers are on the machine's network; the machine's own rules stay as they are.
        *("--bridge=none", "--iptables=false"),
    ]
    patch.setenv("DOCKER_HOST", socket)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while process.poll() is None and not _answers() and time.monotonic() < deadline:
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(_START_SECONDS)
        unmount_all(folder)


def _answers() -> bool:
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def make_image(engine: str, folder: Path) -> None:
    """Makes :data:`IMAGE`."""
    changes = [
        'ENTRYPOINT ["/bin/echo", "entry"]', 'CMD ["cmd"]', "WORKDIR /home", "ENV GREETING=hello",
    ]  # fmt: skip
    options = [part for change in changes for part in ("--change", change)]
    program = busybox()
    assert program is not None
    _run(engine, "import", *options, str(root_archive(folder, program)), IMAGE)


def remove_image(engine: str, image: str) -> None:
    subprocess.run([engine, "rmi", "--force", image], capture_output=True, check=False)


def containers_left(engine: str) -> list[str]:
    """The names of all containers there are, running or not."""
    return _run(engine, "ps", "--all", "--format", "{{.Names}}").split()


def _run(engine: str, *arguments: str) -> str:
    done = subprocess.run(
        [engine, *arguments], capture_output=True, text=True, check=False, env=os.environ
    )
    if done.returncode:
        pytest.skip(f"{engine} {arguments[0]} does not work here: {done.stderr.strip()[-300:]}")
    return done.stdout
