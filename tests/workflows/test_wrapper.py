"""The shell around a step's command, run for real."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.workflows import wrapper
from kubeling.workflows.wrapper import (
    InputFile,
    OutputArtifact,
    OutputParameter,
    StagedArtifact,
    Turn,
    WrapPlan,
    literal,
    parse_report,
    wrap,
)

SHELLS = [name for name in ("sh", "dash", "bash") if shutil.which(name)]


def expand(text: str, env: dict[str, str]) -> str:
    """The kubelet's expansion of ``$(NAME)`` in commands."""

    def value(found: re.Match[str]) -> str:
        if found.group() == "$$":
            return "$"
        return env.get(found.group(1), found.group())

    return re.sub(r"\$\$|\$\(([^)]*)\)", value, text)


class Box:
    """Runs wrapped commands with a store and a termination log in a folder."""

    def __init__(self, folder: Path, shell: str) -> None:
        self.folder, self.shell = folder, shell
        self.store = folder / "store"
        self.store.mkdir()
        self.log = folder / "termination-log"

    def argv(self, command: list[str], plan: WrapPlan) -> list[str]:
        argv = [expand(argument, {"HOME": "/wrong"}) for argument in wrap(command, plan)]
        text = argv[2].replace("/dev/termination-log", str(self.log))
        text = text.replace(wrapper.TURNS_PATH, str(self.folder / "turns"))
        return [self.shell, "-c", text.replace(wrapper.STORE_PATH, str(self.store)), *argv[3:]]

    def run(self, command: list[str], plan: WrapPlan) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.argv(command, plan), capture_output=True, text=True, timeout=20)


@pytest.fixture(params=SHELLS)
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Box:
    return Box(tmp_path, request.param)


def test_outputs_logs_and_the_exit_code_survive(box: Box) -> None:
    value, big, made = (box.folder / name for name in ("value", "big", "made"))
    plan = WrapPlan(
        parameters=(
            OutputParameter("value", str(value), "k/value"),
            OutputParameter("big", str(big), "k/big"),
            OutputParameter("none", str(box.folder / "none"), "k/none"),
        ),
        artifacts=(
            OutputArtifact("made", str(made), "wf/pod/made"),
            OutputArtifact("lost", str(box.folder / "lost"), "wf/pod/lost"),
        ),
        result="k/result",
        source=(
            f'printf "grüße\\n\\n" >{value}; yes | head -c 5000 >{big}\n'
            f"mkdir -p {made}/deep; echo 1 >{made}/deep/file\n"
            "echo 'to stdout'; echo 'to stderr' >&2; exit 3"
        ),
    )
    done = box.run(["sh"], plan)
    assert (done.returncode, done.stdout, done.stderr) == (3, "to stdout\n", "to stderr\n")
    report = parse_report(box.log.read_text())
    assert report.parameters == {"value": "grüße\n"}
    assert report.result == "to stdout"
    assert report.stored == {("parameter", "big"): "k/big"}
    assert (box.store / "k/big").stat().st_size == 5000
    assert report.missing == {("parameter", "none"), ("artifact", "lost")}
    assert report.artifacts == {"made"}
    assert (box.store / "wf/pod/made/deep/file").read_text() == "1\n"


def test_inputs_are_where_the_step_wants_them(box: Box) -> None:
    (box.store / "one").write_text("first")
    (box.store / "tree/deep").mkdir(parents=True)
    (box.store / "tree/deep/leaf").write_text("second")
    target = box.folder / "made" / "here"
    plan = WrapPlan(
        artifacts_in=(
            StagedArtifact("one", f"{target}/one"),
            StagedArtifact("tree", f"{target}/tree", mode=0o750),
            StagedArtifact("absent", f"{target}/absent", optional=True),
        ),
        files_in=(InputFile(f"{target}/raw", "it's $(HOME), $$ and `x`\n", 0o600),),
    )
    done = box.run(["cat", f"{target}/one", f"{target}/tree/deep/leaf", f"{target}/raw"], plan)
    assert done.stdout == "firstsecondit's $(HOME), $$ and `x`\n"
    assert (target / "raw").stat().st_mode & 0o777 == 0o600


def test_a_lost_artifact_is_named(box: Box) -> None:
    done = box.run(["true"], WrapPlan(artifacts_in=(StagedArtifact("gone", "/tmp/x"),)))
    assert done.returncode == 64
    assert parse_report(box.log.read_text()).failure == "no artifact gone in the artifact store"


def test_an_artifact_of_an_earlier_run_is_replaced(box: Box) -> None:
    (box.store / "key").mkdir()
    (box.store / "key/old").touch()
    plan = WrapPlan(
        artifacts=(OutputArtifact("a", str(box.folder / "new"), "key"),),
        source=f"echo fresh >{box.folder}/new",
    )
    assert box.run(["sh"], plan).returncode == 0
    assert (box.store / "key").read_text() == "fresh\n"


def test_sigterm_reaches_the_command_and_outputs_are_still_kept(box: Box) -> None:
    value = box.folder / "value"
    plan = WrapPlan(
        parameters=(OutputParameter("value", str(value), "k"),),
        source=(
            f"trap 'echo stopped >{value}; kill $child; exit 5' TERM\n"
            "sleep 60 & child=$!\necho ready; wait"
        ),
    )
    process = subprocess.Popen(box.argv(["sh"], plan), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 5
    process.stdout.close()
    assert parse_report(box.log.read_text()).parameters == {"value": "stopped"}


def test_a_step_without_outputs_becomes_its_command(box: Box) -> None:
    done = box.run(["sh"], WrapPlan(source="echo $PPID"))
    assert done.returncode == 0
    assert wrap(["x"], WrapPlan(source="y"))[2].endswith('exec "$@"')


@given(st.text(max_size=60))
def test_nothing_in_a_program_is_expanded(text: str) -> None:
    assert expand(literal(text), {"HOME": "/root", "": "x"}) == text


@given(st.text(max_size=200))
def test_any_termination_message_can_be_read(text: str) -> None:
    parse_report(text)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z0-9_-]{1,10}", fullmatch=True),
        st.text(st.characters(blacklist_categories=["Cs"]), max_size=40),
        max_size=4,
    )
)
def test_values_with_any_characters_are_read_back(values: dict[str, str]) -> None:
    message = "".join(
        f"parameter {name} {len(value.encode())}\n{value}\n" for name, value in values.items()
    )
    expected = {name: value.removesuffix("\n") for name, value in values.items()}
    assert parse_report(message).parameters == expected


def test_containers_of_a_set_wait_for_those_they_depend_on(box: Box) -> None:
    said = box.folder / "said"
    second = WrapPlan(turn=Turn("b", waits_for=("a",)))
    waiting = subprocess.Popen(box.argv(["sh", "-c", f"echo b >>{said}"], second))
    done = box.run(["sh", "-c", f"echo a >>{said}"], WrapPlan(turn=Turn("a")))
    assert (done.returncode, waiting.wait(20)) == (0, 0)
    assert said.read_text() == "a\nb\n"


def test_a_container_whose_dependency_failed_does_not_run(box: Box) -> None:
    assert box.run(["sh", "-c", "exit 3"], WrapPlan(turn=Turn("a"))).returncode == 3
    done = box.run(["echo", "never"], WrapPlan(turn=Turn("b", waits_for=("a",))))
    assert (done.returncode, done.stdout) == (64, "")
    assert parse_report(box.log.read_text()).failure == (
        'dependency "a" exited with non-zero code: 3'
    )
    last = box.run(["echo", "never"], WrapPlan(turn=Turn("c", waits_for=("b",))))
    assert last.returncode == 64


def test_a_waiting_container_can_be_stopped(box: Box) -> None:
    plan = WrapPlan(turn=Turn("b", waits_for=("a",)))
    waiting = subprocess.Popen(box.argv(["echo"], plan))
    while not (box.folder / "turns" / "b").exists():
        assert waiting.poll() is None
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(20) == 143


def test_a_container_of_a_set_tries_as_often_as_it_may(box: Box) -> None:
    tries = box.folder / "tries"
    command = ["sh", "-c", f"echo x >>{tries}; [ $(wc -l <{tries}) -ge 3 ]"]
    plan = WrapPlan(result="r", turn=Turn("main", attempts=3))
    assert box.run(command, plan).returncode == 0
    assert tries.read_text() == "x\n" * 3
    tries.unlink()
    assert box.run(command, WrapPlan(turn=Turn("other", attempts=2))).returncode == 1


def test_a_log_can_be_kept_and_is_printed_as_ever(box: Box) -> None:
    plan = WrapPlan(artifacts=(OutputArtifact("main-logs", "", "wf/main.log"),), result="r")
    command = ["sh", "-c", "echo out; sleep 0.2; echo err >&2; exit 2"]
    done = box.run(command, plan)
    assert (done.returncode, done.stdout, done.stderr) == (2, "out\n", "err\n")
    assert (box.store / "wf/main.log").read_text() == "out\nerr\n"
    report = parse_report(box.log.read_text())
    assert (report.result, report.artifacts) == ("out", {"main-logs"})
