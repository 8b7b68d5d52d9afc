"""pip's settings, as uv is told them; and what uv says, as people are told it."""

from pathlib import Path

import pytest

from kubeling.engine.pipsettings import own_of_uv, pip_settings, uv_options, uv_variables
from kubeling.engine.uvtalk import explain, progress

NONE = Path("/no/such/file")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / ".config" / "pip").mkdir(parents=True)
    (folder / ".config" / "uv").mkdir()
    return folder


def test_variables_win_over_files_and_the_given_file_over_the_user_s(home: Path) -> None:
    (home / ".config" / "pip" / "pip.conf").write_text(
        "[global]\nindex-url = https://user.example\ntimeout = 7\n[install]\npre = yes\n"
    )
    given = home / "given.conf"
    given.write_text("[global]\nindex_url = https://given.example\n")
    environ = {"PIP_CONFIG_FILE": str(given), "PIP_EXTRA_INDEX_URL": "https://a https://b"}
    found = pip_settings(environ, home, ())
    assert found["index-url"] == "https://given.example"
    assert found["extra-index-url"] == "https://a https://b"
    assert uv_variables(found, {}, sources=True) == {
        "UV_DEFAULT_INDEX": "https://given.example",
        "UV_INDEX": "https://a https://b",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_HTTP_TIMEOUT": "7",
        "UV_PRERELEASE": "allow",
    }


def test_what_uv_has_been_told_itself_stays(home: Path) -> None:
    found = {"index-url": "https://pip.example", "cert": "/pip.pem", "trusted-host": "pip.example"}
    environ = {"SSL_CERT_FILE": "/own.pem"}
    assert uv_variables(found, environ, sources=False) == {"UV_INSECURE_HOST": "pip.example"}


def test_folders_that_do_not_exist_are_left_out_as_by_pip(home: Path) -> None:
    found = {"find-links": f"{home} /no/such file:///neither", "extra-index-url": f"file://{home}"}
    variables = uv_variables(found, {}, sources=True)
    assert variables["UV_FIND_LINKS"] == str(home)
    assert variables["UV_INDEX"] == f"file://{home}"


def test_what_has_no_variable_becomes_an_option() -> None:
    found = {"no-index": "1", "only-binary": "numpy,scipy"}
    assert uv_options(found, sources=True) == [
        "--no-index", "--only-binary", "numpy", "--only-binary", "scipy",
    ]  # fmt: skip
    assert uv_options({"no-index": "1"}, sources=False) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("home/.config/uv/uv.toml", 'index-url = "https://uv.example"'),
        ("home/.config/uv/uv.toml", "[pip]\nno-index = true"),
        ("work/uv.toml", 'find-links = ["/wheels"]'),
        ("work/pyproject.toml", '[[tool.uv.index]]\nurl = "https://uv.example"'),
    ],
)
def test_uv_has_sources_of_its_own_in_its_files(
    tmp_path: Path, home: Path, file: str, text: str
) -> None:
    (tmp_path / "work" / "deep").mkdir(parents=True)
    assert not own_of_uv({}, home, tmp_path / "work" / "deep", NONE)
    (tmp_path / file).write_text(text)
    assert own_of_uv({}, home, tmp_path / "work" / "deep", NONE)


def test_and_in_its_variables(home: Path) -> None:
    assert own_of_uv({"UV_INDEX": "https://uv.example"}, home, home, NONE)
    assert not own_of_uv({"UV_CACHE_DIR": "/cache"}, home, home, NONE)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Resolved 10 packages in 359ms\n", "Resolved 10 packages in 359ms"),
        ("Downloading scipy (33.7MiB)\n", "Downloading scipy (33.7MiB)"),
        (" Downloaded scipy\n", ""),
        ("   Building bad @ file:///bad\n", "Building bad @ file:///bad"),
        (" + numpy==2.4.6\n", ""),
    ],
)
def test_progress_is_what_people_want_to_know(line: str, told: str) -> None:
    assert progress(line) == told


def test_earlier_versions_draw_their_errors() -> None:
    why, remedy = explain(
        "  \u00d7 No solution found when resolving dependencies:\n"
        "  ╰─▶ Because nosuch was not found in the package registry and you require\n"
        "      nosuch, we can conclude that your requirements are unsatisfiable.\n"
    )
    assert why.startswith("No solution found when resolving dependencies: Because nosuch was not")
    assert "check its name" in remedy
