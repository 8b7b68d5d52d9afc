"""Models on hubs, in repositories, images and file systems, against servers that speak so."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.objectstore import object_store

from kubeling.artifacts.errors import ArtifactError
from kubeling.serving.storage.download import download
from kubeling.serving.storage.patterns import Patterns

Answer = tuple[int, bytes, dict[str, str]]


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], Answer]) -> Iterator[str]:
    """Serves what ``answer`` says on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            status, body, headers = answer(self)
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *_: object) -> None:
            return

    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{found.server_address[1]}"
    finally:
        found.shutdown()
        found.server_close()


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- Hugging Face, ModelScope ---------------------------------------------------------------


def hub(request: BaseHTTPRequestHandler) -> Answer:
    """A hub with one private repository, in both hubs' ways."""
    path = urlsplit(request.path)
    if request.headers.get("Authorization") != "Bearer secret":
        return 401, b"", {}
    names = ["config.json", "weights/net.safetensors"]
    if path.path in ("/api/models/team/net/revision/main", "/api/models/team/net/revision/v1"):
        listing = {"sha": "abc", "siblings": [{"rfilename": name} for name in names]}
        return 200, json.dumps(listing).encode(), {}
    if path.path == "/api/v1/models/team/net/repo/files":
        listed = [
            {"Path": "weights", "Type": "tree"},
            *({"Path": n, "Type": "blob"} for n in names),
        ]
        revision = parse_qs(path.query)["Revision"][0]
        code = {"Code": 200 if revision in ("master", "v1") else 404, "Message": "no revision"}
        return 200, json.dumps({**code, "Data": {"Files": listed}}).encode(), {}
    for revision in ("abc", "models/team/net/resolve/master", "models/team/net/resolve/v1"):
        for name in names:
            if path.path in (f"/team/net/resolve/{revision}/{name}", f"/{revision}/{name}"):
                return 200, name.encode(), {}
    return 404, b"", {}


@pytest.fixture(name="hub_url", scope="module")
def _hub_url() -> Iterator[str]:
    with server(hub) as url:
        yield url


def hub_env(url: str, **more: str) -> dict[str, str]:
    known = {"HF_TOKEN": "secret", "MODELSCOPE_API_TOKEN": "secret"}
    return {"HF_ENDPOINT": url, "MODELSCOPE_DOMAIN": url, **known, **more}


@pytest.mark.parametrize("scheme", ["hf", "modelscope"])
@pytest.mark.parametrize("revision", ["", ":v1"])
def test_a_hubs_model_arrives_with_its_structure(
    hub_url: str, tmp_path: Path, scheme: str, revision: str
) -> None:
    download(f"{scheme}://team/net{revision}", tmp_path, hub_env(hub_url))
    assert set(files(tmp_path)) == {"config.json", "weights/net.safetensors"}


@pytest.mark.parametrize("scheme", ["hf", "modelscope"])
def test_only_wanted_files_of_a_hub_are_fetched(hub_url: str, tmp_path: Path, scheme: str) -> None:
    env = hub_env(hub_url, STORAGE_ALLOW_PATTERNS='["*.json"]')
    download(f"{scheme}://team/net", tmp_path, env)
    assert set(files(tmp_path)) == {"config.json"}


@pytest.mark.parametrize(
    ("uri", "token", "said"),
    [
        ("hf://team/net", "", "may not be read so; put a token that may into a secret of the ser"),
        ("modelscope://team/net", "", "of the service account as MODELSCOPE_API_TOKEN"),
        ("hf://team/none", "secret", "HTTP 404 for team/none; check storageUri"),
        ("modelscope://team/net:v9", "secret", "ModelScope refused team/net: no revision"),
        ("hf://net", "secret", "hf://net is not hf://OWNER/MODEL"),
        ("modelscope://team/net/x", "secret", "is not modelscope://OWNER/MODEL"),
    ],
)
def test_what_a_hub_refuses_is_said(
    hub_url: str, tmp_path: Path, uri: str, token: str, said: str
) -> None:
    env = hub_env(hub_url) | {"HF_TOKEN": token, "MODELSCOPE_API_TOKEN": token}
    with pytest.raises(ArtifactError, match=said):
        download(uri, tmp_path, env)


# --- Azure ----------------------------------------------------------------------------------

_BLOB = "https://key.blob.core.windows.net/private/iris"


def test_a_folder_of_blobs_arrives_with_its_structure(tmp_path: Path) -> None:
    objects = {"iris/model.joblib": b"model", "iris/extra/notes.txt": b"notes"}
    with object_store(private=objects) as store:
        env = {"AZURE_SERVICE_URL": store.azure, "AZURE_STORAGE_ACCESS_KEY": "c2VjcmV0"}
        download(_BLOB, tmp_path, env)
        assert set(files(tmp_path)) == {"model.joblib", "extra/notes.txt"}
        message = "anonymously .*put AZURE_STORAGE_ACCESS_KEY, or AZURE_TENANT_ID"
        with pytest.raises(ArtifactError, match=message):
            download(_BLOB, tmp_path / "x", {"AZURE_SERVICE_URL": store.azure})


# --- the web --------------------------------------------------------------------------------


def test_a_host_gets_the_headers_of_its_secret(tmp_path: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> Answer:
        known = request.headers.get("X-Token") == "secret"
        return (200, b"model", {}) if known else (403, b"", {})

    with server(answer) as url:
        env = {"127.0.0.1-headers": json.dumps({"X-Token": "secret"})}
        download(f"{url}/model.bin", tmp_path, env)
        assert files(tmp_path) == {"model.bin": "model"}
        with pytest.raises(ArtifactError, match="is no JSON object"):
            download(f"{url}/model.bin", tmp_path, {"127.0.0.1-headers": "X-Token: secret"})


def test_the_headers_of_a_hosts_secret_stay_with_it(tmp_path: Path) -> None:
    def other(request: BaseHTTPRequestHandler) -> Answer:
        return 200, request.headers.get("X-Token", "nothing").encode(), {}

    with (
        server(other) as elsewhere,
        server(lambda _: (302, b"", {"Location": f"{elsewhere}/model.bin"})) as url,
    ):
        env = {"127.0.0.1-headers": json.dumps({"X-Token": "secret"})}
        download(f"{url}/model.bin", tmp_path, env)
    assert files(tmp_path) == {"model.bin": "nothing"}


# --- Git ------------------------------------------------------------------------------------


@contextmanager
def git_server(root: Path, password: str) -> Iterator[str]:
    """Git's own server below a web server that asks who is there."""
    known = f"Basic {base64.b64encode(f'me:{password}'.encode()).decode()}"

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        if request.headers.get("Authorization") != known:
            return 401, b"", {"WWW-Authenticate": "Basic realm=git"}
        split = urlsplit(request.path)
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        env = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": split.path,
            "QUERY_STRING": split.query,
            "REQUEST_METHOD": request.command,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=env, capture_output=True, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        lines = [line.partition(": ") for line in head.decode().splitlines()]
        headers = {key: value for key, _, value in lines}
        return int(headers.pop("Status", "200").split()[0]), content, headers

    with server(answer) as url:
        yield url


@pytest.fixture(name="repository")
def _repository(tmp_path: Path) -> Callable[[str], Path]:
    def made(content: str) -> Path:
        work = tmp_path / "work"
        work.mkdir()
        (work / "model.txt").write_text(content)
        user = ("-c", "user.name=me", "-c", "user.email=me@example.com")
        for command in (
            ("init", "-q", "-b", "main"),
            ("add", "."),
            (*user, "commit", "-qm", "model"),
            ("clone", "-q", "--bare", ".", str(tmp_path / "served" / "model.git")),
        ):
            subprocess.run(["git", *command], cwd=work, check=True)
        return tmp_path / "served"

    return made


def test_a_repository_is_cloned_without_its_history(
    tmp_path: Path, repository: Callable[[str], Path]
) -> None:
    with git_server(repository("weights"), "secret") as url:
        env = {"GIT_USERNAME": "me", "GIT_PASSWORD": "secret", "PATH": os.environ["PATH"]}
        for _ in ("first", "again after a restart of the node"):
            download(f"{url}/model.git", tmp_path / "found", env)
            assert files(tmp_path / "found") == {"model.txt": "weights"}
        address = url.replace("://", "://me@") + "/model.git"
        download(address, tmp_path / "again", {k: v for k, v in env.items() if "USER" not in k})
        assert files(tmp_path / "again") == {"model.txt": "weights"}
        with pytest.raises(ArtifactError, match="put GIT_USERNAME and GIT_PASSWORD into a secret"):
            download(f"{url}/model.git", tmp_path / "x", {"PATH": os.environ["PATH"]})


def test_a_password_of_git_is_not_told_to_another_host(
    tmp_path: Path,
) -> None:
    seen: list[str] = []

    def other(request: BaseHTTPRequestHandler) -> Answer:
        seen.append(request.headers.get("Authorization", ""))
        return 401, b"", {"WWW-Authenticate": "Basic realm=git"}

    with server(other) as elsewhere:
        redirect = server(lambda request: (302, b"", {"Location": f"{elsewhere}{request.path}"}))
        env = {"GIT_USERNAME": "me", "GIT_PASSWORD": "secret", "PATH": os.environ["PATH"]}
        with redirect as url, pytest.raises(ArtifactError, match="put GIT_USERNAME"):
            download(f"{url}/model.git", tmp_path / "found", env)
    assert seen == [""]


def test_a_pointer_of_git_lfs_is_no_model(
    tmp_path: Path, repository: Callable[[str], Path]
) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    env = {"GIT_USERNAME": "me", "GIT_PASSWORD": "secret", "PATH": os.environ["PATH"]}
    with (
        git_server(repository(pointer), "secret") as url,
        pytest.raises(ArtifactError, match=r"model\.txt is kept by Git LFS"),
    ):
        download(f"{url}/model.git", tmp_path / "found", env)


# --- OCI images -----------------------------------------------------------------------------


def layer(**content: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def linked_layer(kind: bytes, name: str, to: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        text = b"model"
        member = tarfile.TarInfo("models/model.txt")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
        link = tarfile.TarInfo(name)
        link.type, link.linkname = kind, to
        tar.addfile(link)
    return packed.getvalue()


def digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


@contextmanager
def registry(*layers: bytes, damaged: bool = False) -> Iterator[str]:
    """A registry with the image ``team/net:v1`` for two machines; it wants a token."""
    kind = "application/vnd.oci.image.layer.v1.tar+gzip"
    entries = [{"mediaType": kind, "digest": digest(body)} for body in layers]
    manifest = json.dumps({"layers": entries}).encode()
    images = [
        {"digest": digest(manifest), "platform": {"os": "linux", "architecture": machine}}
        for machine in ("amd64", "arm64")
    ]
    index = json.dumps({"manifests": images}).encode()
    blobs = {f"/v2/team/net/blobs/{digest(body)}": body for body in layers}
    if damaged:
        other = layer(**{"models/model.txt": "not what was asked"})
        blobs = dict.fromkeys(blobs, other)
    stored = {
        "/v2/team/net/manifests/v1": index,
        f"/v2/team/net/manifests/{digest(manifest)}": manifest,
        **blobs,
    }
    basic = base64.b64encode(b"me:secret").decode()
    ends = {f"/v2/team/net/blobs/{digest(layers[-1])}"}
    """When this is asked for, the first token has ended."""

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        path = urlsplit(request.path).path
        said = request.headers.get("Authorization", "")
        if path == "/token":
            known = said == f"Basic {basic}"
            return (200, b'{"token": "t"}', {}) if known else (401, b"", {})
        if path in ends:
            ends.remove(path)
            said = ""
        if said != "Bearer t":
            realm = f"http://{request.headers['Host']}/token"
            return 401, b"", {"WWW-Authenticate": f'Bearer realm="{realm}",service="r"'}
        return (200, stored[path], {}) if path in stored else (404, b"{}", {})

    with server(answer) as url:
        yield url.removeprefix("http://")


def signed_in(host: str, folder: Path) -> dict[str, str]:
    """A Docker configuration with the user of the registry."""
    auth = base64.b64encode(b"me:secret").decode()
    config = folder / "config.json"
    config.write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return {"KSERVE_OCI_DOCKER_CONFIG": str(config)}


@pytest.mark.parametrize("scheme", ["oci", "oci+fetch"])
def test_the_models_of_an_image_are_unpacked(tmp_path: Path, scheme: str) -> None:
    base = layer(**{"etc/passwd": "root", "models/old.txt": "old", "models/sub/a.txt": "a"})
    top = layer(**{"models/.wh.old.txt": "", "./models/model.txt": "model"})
    with registry(base, top) as host:
        env = signed_in(host, tmp_path)
        download(f"{scheme}://{host}/team/net:v1", tmp_path / "found", env)
    assert files(tmp_path / "found") == {"model.txt": "model", "sub/a.txt": "a"}


@pytest.mark.parametrize(
    ("top", "left"),
    [
        ({"models/.wh.sub": ""}, {"old.txt": "old"}),
        ({"models/new.txt": "new", "models/.wh..wh..opq": ""}, {"new.txt": "new"}),
        (
            {"models/sub/new.txt": "new", "models/sub/.wh..wh..opq": ""},
            {"old.txt": "old", "sub/new.txt": "new"},
        ),
        ({"models/.wh...": "", "models/sub": "file"}, {"old.txt": "old", "sub": "file"}),
    ],
)
def test_what_an_upper_layer_removes_is_gone(
    tmp_path: Path, top: dict[str, str], left: dict[str, str]
) -> None:
    base = layer(**{"models/old.txt": "old", "models/sub/a.txt": "a", "models/sub/b/c.txt": "c"})
    with registry(base, layer(**top)) as host:
        env = signed_in(host, tmp_path)
        download(f"oci://{host}/team/net:v1", tmp_path / "found", env)
    assert files(tmp_path / "found") == left


def test_links_of_an_image_stay_in_its_models(tmp_path: Path) -> None:
    def fetched(kind: bytes, name: str, to: str) -> dict[str, str]:
        with registry(linked_layer(kind, name, to)) as host:
            target = tmp_path / str(len(list(tmp_path.iterdir())))
            download(f"oci://{host}/team/net:v1", target, signed_in(host, tmp_path))
        return files(target)

    both = {"model.txt": "model", "same.txt": "model"}
    assert fetched(tarfile.LNKTYPE, "models/same.txt", "models/model.txt") == both
    assert fetched(tarfile.SYMTYPE, "models/same.txt", "model.txt") == both
    for kind, to in (
        (tarfile.LNKTYPE, "etc/passwd"),
        (tarfile.LNKTYPE, "models/../../etc/passwd"),
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "../../etc/passwd"),
    ):
        with pytest.raises(ArtifactError, match=r"cannot be unpacked: .*(link|outside)"):
            fetched(kind, "models/same.txt", to)


def test_what_is_wrong_with_an_image_is_said(tmp_path: Path) -> None:
    with registry(layer(**{"etc/passwd": "root"})) as host:
        env = signed_in(host, tmp_path)
        with pytest.raises(ArtifactError, match="has nothing in /models"):
            download(f"oci://{host}/team/net:v1", tmp_path / "a", env)
        with pytest.raises(ArtifactError, match="answered HTTP 404 for team/net"):
            download(f"oci://{host}/team/net:v2", tmp_path / "b", env)
        with pytest.raises(ArtifactError, match="may not be read so; name a secret"):
            download(f"oci://{host}/team/net:v1", tmp_path / "c", {})
    with registry(layer(**{"models/model.txt": "model"}), damaged=True) as host:
        env = signed_in(host, tmp_path)
        with pytest.raises(ArtifactError, match="arrived damaged"):
            download(f"oci://{host}/team/net:v1", tmp_path / "d", env)


# --- HDFS -----------------------------------------------------------------------------------


def name_node(request: BaseHTTPRequestHandler) -> Answer:
    """WebHDFS with ``/user/me/net/{model.txt,sub/a.txt}``; a data node has the files."""
    stored = {"/user/me/net/model.txt": b"model", "/user/me/net/sub/a.txt": b"a"}
    split = urlsplit(request.path)
    path, query = split.path.removeprefix("/webhdfs/v1"), parse_qs(split.query)
    if split.path.startswith("/data"):
        return 200, stored[split.path.removeprefix("/data")], {}
    below = [name for name in stored if name.startswith(f"{path}/")]
    if path not in stored and not below:
        said = {"RemoteException": {"message": f"File does not exist: {path}\nat x"}}
        return 404, json.dumps(said).encode(), {}
    match query["op"][0], query.get("doas"):
        case "GETFILESTATUS", ["me"]:
            kind = "FILE" if path in stored else "DIRECTORY"
            return 200, json.dumps({"FileStatus": {"type": kind}}).encode(), {}
        case "LISTSTATUS", ["me"]:
            rest = sorted({name.removeprefix(f"{path}/").partition("/")[:2] for name in below})
            entries = [
                {"pathSuffix": title, "type": "DIRECTORY" if deeper else "FILE"}
                for title, deeper in rest
            ]
            return 200, json.dumps({"FileStatuses": {"FileStatus": entries}}).encode(), {}
        case "OPEN", ["me"]:
            return 307, b"", {"Location": f"http://{request.headers['Host']}/data{path}"}
    return 403, b"{}", {}


@pytest.mark.parametrize("scheme", ["hdfs", "webhdfs"])
def test_a_folder_of_hdfs_arrives_with_its_structure(tmp_path: Path, scheme: str) -> None:
    with server(name_node) as url:
        entry = {"type": "hdfs", "HDFS_NAMENODE": url, "USER_PROXY": "me"}
        env = {"STORAGE_CONFIG": json.dumps(entry)}
        download(f"{scheme}://user/me/net", tmp_path / "all", env)
        assert files(tmp_path / "all") == {"model.txt": "model", "sub/a.txt": "a"}
        folder = tmp_path / "secret"
        folder.mkdir()
        for key, value in (
            ("HDFS_NAMENODE", url),
            ("USER_PROXY", "me"),
            ("HDFS_ROOTPATH", "/user"),
        ):
            (folder / key).write_text(f"{value}\n")
        mounted = {"HDFS_SECRET_DIR": str(folder)}
        download(f"{scheme}://me/net/model.txt", tmp_path / "one", mounted)
        assert files(tmp_path / "one") == {"model.txt": "model"}
        with pytest.raises(ArtifactError, match="File does not exist: /user/me/none; check"):
            download(f"{scheme}://me/none", tmp_path / "none", mounted)


@pytest.mark.parametrize("name", ["/tmp/outside.txt", "../outside.txt"])
def test_a_name_node_cannot_say_where_files_are_written(tmp_path: Path, name: str) -> None:
    def answer(request: BaseHTTPRequestHandler) -> Answer:
        if "GETFILESTATUS" in request.path:
            return 200, b'{"FileStatus": {"type": "DIRECTORY"}}', {}
        entries = {"FileStatuses": {"FileStatus": [{"pathSuffix": name, "type": "FILE"}]}}
        return 200, json.dumps(entries).encode(), {}

    with (
        server(answer) as url,
        pytest.raises(ArtifactError, match=r"outside\.txt\" would be written outside of"),
    ):
        download("hdfs://user/me", tmp_path, {"HDFS_NAMENODE": url})


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({}, "HDFS_NAMENODE is not set: put the name node"),
        ({"KERBEROS_PRINCIPAL": "me"}, "KERBEROS_PRINCIPAL: Kerberos is not spoken here"),
        ({"HDFS_NAMENODE": "http://n", "HEADERS": "x"}, "HEADERS is not valid JSON"),
        ({"HDFS_NAMENODE": "http://n", "TLS_CA": "x"}, "TLS_CA is neither PEM nor base64 of it"),
        ({"HDFS_NAMENODE": "http://n", "TLS_CA": "eA=="}, "TLS_CA, TLS_CERT or TLS_KEY cannot"),
    ],
)
def test_what_hdfs_lacks_is_named(tmp_path: Path, entry: dict[str, str], said: str) -> None:
    env = {"STORAGE_CONFIG": json.dumps({"type": "hdfs", **entry})}
    with pytest.raises(ArtifactError, match=said):
        download("hdfs://user/me", tmp_path, env)


# --- patterns -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['["*.json", "*.txt"]', "*.json,*.txt", "*.json *.txt"])
def test_patterns_are_written_as_a_list_or_between_commas(text: str) -> None:
    found = Patterns.of({"STORAGE_ALLOW_PATTERNS": text, "STORAGE_IGNORE_PATTERNS": "secret*"})
    assert found.takes("a/b.json")
    assert found.takes("c.txt")
    assert not found.takes("d.bin")
    assert not found.takes("secret.json")


def test_patterns_hold_for_a_folder_of_the_machine_too(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    for name in ("a.json", "b.bin", "sub/c.json"):
        (source / name).write_text("x")
    download(str(source), tmp_path / "found", {"STORAGE_ALLOW_PATTERNS": "*.json"})
    assert set(files(tmp_path / "found")) == {"a.json", "sub/c.json"}
