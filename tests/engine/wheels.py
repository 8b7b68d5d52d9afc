"""Packages for tests: wheels made on the spot, in a folder or behind a web server."""

import zipfile
from pathlib import Path

from aiohttp import web

SEEDS = ("pip", "setuptools", "wheel")
"""What every environment is given; here they are names only."""


def make_wheel(
    folder: Path, name: str, version: str = "1", requires: str = "", script: str = ""
) -> None:
    """With a ``script`` the package has a program of that name, which prints where Python is."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    if requires:
        metadata += f"Requires-Dist: {requires}\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        shown = "import sys\n\n\ndef main():\n    print(sys.prefix)\n" if script else ""
        wheel.writestr(f"{name}.py", f"version = {version!r}\n{shown}")
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        names = [f"{name}.py", f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD"]
        if script:
            entry = f"[console_scripts]\n{script} = {name}:main\n"
            wheel.writestr(f"{info}/entry_points.txt", entry)
            names.append(f"{info}/entry_points.txt")
        wheel.writestr(f"{info}/RECORD", "".join(f"{n},,\n" for n in names))


def make_wheels(folder: Path, *names: str) -> Path:
    for name in (*SEEDS, *names):
        make_wheel(folder, name)
    return folder


def _files(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"{name}-*.whl"))


async def serve(folder: Path) -> tuple[web.AppRunner, str]:
    """A package index on a loopback port (the simple repository API) and its address."""

    async def index(request: web.Request) -> web.Response:
        files = _files(folder, request.match_info["name"])
        if not files:
            raise web.HTTPNotFound
        links = "".join(f'<a href="/files/{file.name}">{file.name}</a>' for file in files)
        return web.Response(text=f"<html>{links}</html>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/simple/{name}/", index)
    app.router.add_static("/files", folder)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/simple"
