"""How inputs get into a step's container and outputs out of it.

A step that needs either runs its command through a few lines of POSIX shell, written into the pod's
``command``. So the contract is in the Pod, for every cluster to keep: the image has ``sh``, the
artifact store is a volume, and what the step gave is in the container's termination message. Ruled
out: a sidecar (a second container per step), an init container with a binary of ours (an image to
pull), reading the log (it mixes stdout with stderr).

The shell hands SIGTERM on, keeps the exit code, and lets stdout through while copying it. The
termination message holds 4 KiB; what is larger goes into the store, and the message names its key.

    parameter loss 4        name, length in bytes, then the bytes
    0.25
    result - 5
    hello
    stored parameter rows prep/prep-123/outputs/rows
    artifact model          saved under the key the pod was given
    missing parameter auc   the step wrote no such file
    failed no artifact …    the wrapper itself could not go on
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import Final

from kubeling.artifacts.movers import EXCHANGE_PATH, HAND_OVER, TRAP, WAIT

__all__ = [
    "STORE_PATH",
    "TURNS_PATH",
    "InputFile",
    "OutputArtifact",
    "OutputParameter",
    "Report",
    "StagedArtifact",
    "Turn",
    "WrapPlan",
    "literal",
    "parse_report",
    "wrap",
]

STORE_PATH: Final = "/kubeling/artifacts"
"""Where the namespace's part of the artifact store is mounted."""

TURNS_PATH: Final = "/var/run/argo/ctr"
"""Where the containers of a set tell each other their exit codes, as upstream's do."""

_START: Final = r"""
d=%(store)s
t=$(mktemp -d) || exit 64
used=0
say() { printf "$@" >>"$t/message"; }
tell() { cat "$t/message" >/dev/termination-log; }
fail() { echo "$1" >&2; say 'failed %%s\n' "$1"; tell; exit 64; }
stage() {
  [ -e "$1" ] || { [ "$3" ] && return; fail "no artifact $4 in the artifact store"; }
  mkdir -p "${2%%/*}/" || fail "cannot make a folder for $2"
  if [ -d "$1" ]; then mkdir -p "$2" && cp -R "$1/." "$2/"; else cp "$1" "$2"; fi ||
    fail "cannot put artifact $4 at $2"
}
write() { mkdir -p "${1%%/*}/" && printf %%s "$2" >"$1" || fail "cannot write $1"; }
"""

_TURN: Final = r"""
r=%(turns)s
own="$r/"%(name)s
mkdir -p "$own" && chmod 777 "$own" || fail "cannot make $own"
over() { [ -e "$own/exitcode" ] || { echo "$1" >"$own/code" && mv "$own/code" "$own/exitcode"; }; }
trap 'over $?' EXIT
await() {
  until [ -e "$r/$1/exitcode" ]; do
    [ -z "$hit" ] || exit 143
    sleep 0.1
  done
  read -r was <"$r/$1/exitcode"
  [ "$was" = 0 ] || { over "$was"; fail "dependency \"$1\" exited with non-zero code: $was"; }
}
"""

_GIVE: Final = r"""
give() {
  n=$(($(wc -c <"$3")))
  if [ $((used + n)) -gt 3000 ]; then
    at="$d/$4"
    mkdir -p "${at%/*}" && cp "$3" "$at" || fail "cannot store $1 $2"
    say 'stored %s %s %s\n' "$1" "$2" "$4"
  else
    used=$((used + n + 80))
    say '%s %s %s\n' "$1" "$2" "$n"; cat "$3" >>"$t/message"; say '\n'
  fi
}
parameter() {
  if [ -f "$2" ]; then give parameter "$@"; else say 'missing parameter %s\n' "$1"; fi
}
artifact() {
  if [ -e "$2" ]; then
    at="$d/$3"
    rm -rf "$at" && mkdir -p "${at%/*}" && cp -R "$2" "$at" || fail "cannot store artifact $1"
    say 'artifact %s\n' "$1"
  else say 'missing artifact %s\n' "$1"; fi
}
"""

_OFFER: Final = r"""
offer() {
  if [ -e "$2" ]; then
    cp -R "$2" "$x/$1" || fail "cannot hand artifact $1 over"
    echo "$1" >>"$x/.offered"
    say 'artifact %s\n' "$1"
  else say 'missing artifact %s\n' "$1"; fi
}
"""

_AGAIN: Final = r"""
[ $code = 0 ] || [ "$hit" ] || [ $left -le 1 ] && break
left=$((left - 1))
sleep %(delay)s
"""

_EXPANSION: Final = re.compile(r"\$(?=[$(])")


@dataclass(frozen=True, slots=True)
class StagedArtifact:
    """An artifact to copy to ``path``, from the store or, loaded from elsewhere, the exchange."""

    key: str
    path: str
    optional: bool = False
    mode: int | None = None
    recurse: bool = False
    loaded: bool = False

    @property
    def source(self) -> str:
        """Where the container sees it."""
        return f"{EXCHANGE_PATH if self.loaded else STORE_PATH}/{self.key}"


@dataclass(frozen=True, slots=True)
class InputFile:
    """A text to write to ``path``."""

    path: str
    text: str
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class OutputParameter:
    """A parameter to read from ``path``; ``spill`` is its key should it be too large."""

    name: str
    path: str
    spill: str


@dataclass(frozen=True, slots=True)
class OutputArtifact:
    """A file or folder to keep under ``key``, or, without one, to hand to the keeper.

    Without a ``path`` it is what the command prints, stdout and stderr in one.
    """

    name: str
    path: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """A container's place among those of its set: whom it waits for, and how often it tries.

    The containers of a pod start together. Each leaves its exit code under :data:`TURNS_PATH`, a
    volume they share, and waits for those it depends on before it runs its command.
    """

    name: str
    waits_for: tuple[str, ...] = ()
    attempts: int = 1
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class WrapPlan:
    """What has to happen around a command.

    ``source`` is a program to write to a file that becomes the command's last argument; ``result``
    is the key for the standard output should it be too large, empty where nobody asks for it.
    ``progress`` is the key of the file in which the command says how far it is.
    """

    artifacts_in: tuple[StagedArtifact, ...] = ()
    files_in: tuple[InputFile, ...] = ()
    parameters: tuple[OutputParameter, ...] = ()
    artifacts: tuple[OutputArtifact, ...] = ()
    result: str = ""
    source: str | None = None
    turn: Turn | None = None
    progress: str = ""

    @property
    def needs_store(self) -> bool:
        """Whether the artifact store must be mounted."""
        return bool(
            self.parameters
            or self.result
            or self.progress
            or any(not a.loaded for a in self.artifacts_in)
            or any(a.key for a in self.artifacts)
        )

    @property
    def has_outputs(self) -> bool:
        return bool(self.parameters or self.artifacts or self.result)

    def __bool__(self) -> bool:
        moved = self.artifacts_in or self.artifacts or self.parameters or self.result
        handed = bool(moved or self.files_in or self.progress) or self.source is not None
        return handed or self.turn is not None


def wrap(command: list[str], plan: WrapPlan) -> list[str]:
    """The command that does ``command`` and everything in the plan around it."""
    lines = [_START.strip("\n") % {"store": STORE_PATH}]
    if plan.turn is not None:
        lines += _waiting(plan.turn)
    lines += [
        _call("stage", a.source, a.path, "1" if a.optional else "", a.key)
        for a in plan.artifacts_in
    ]
    if plan.progress:
        file = shlex.quote(f"{STORE_PATH}/{plan.progress}")
        lines.append(f'f={file}; mkdir -p "${{f%/*}}" && chmod 777 "${{f%/*}}" && rm -f "$f"')
    lines += [_call("write", file.path, file.text) for file in plan.files_in]
    for given in plan.artifacts_in:
        lines += _with_mode(given.path, given.mode, recurse=given.recurse)
    for text_file in plan.files_in:
        lines += _with_mode(text_file.path, text_file.mode)
    if plan.source is not None:
        lines += [
            f'printf %s {shlex.quote(plan.source)} >"$t/script"',
            'chmod 755 "$t" "$t/script"',
            'set -- "$@" "$t/script"',
        ]
    if plan.has_outputs or plan.turn is not None:
        lines += _with_outputs(plan)
    else:
        lines.append('exec "$@"')
    text = "\n".join(lines)
    return ["/bin/sh", "-c", literal(text), "sh", *command]


def _with_mode(path: str, mode: int | None, *, recurse: bool = False) -> list[str]:
    return [] if mode is None else [f"chmod {'-R ' if recurse else ''}{mode:o} {shlex.quote(path)}"]


def _waiting(turn: Turn) -> list[str]:
    lines = [TRAP.strip("\n")]
    lines.append(_TURN.strip("\n") % {"turns": TURNS_PATH, "name": shlex.quote(turn.name)})
    return [*lines, *(_call("await", name) for name in turn.waits_for)]


def _with_outputs(plan: WrapPlan) -> list[str]:
    lines = [_GIVE.strip("\n")]
    if plan.turn is None:
        lines.append(TRAP.strip("\n"))
    lines += _attempts(plan)
    if plan.result:
        lines += [
            'tail -c 262144 "$t/stdout" >"$t/result"',
            f'give result - "$t/result" {shlex.quote(plan.result)}',
        ]
    lines += [_call("parameter", p.name, p.path, p.spill) for p in plan.parameters]
    lines += [f"{_kept('artifact', a)} {shlex.quote(a.key)}" for a in plan.artifacts if a.key]
    if handed := [a for a in plan.artifacts if not a.key]:
        lines += [HAND_OVER.strip("\n"), _OFFER.strip("\n")]
        lines += [*(_kept("offer", a) for a in handed), "hand_over"]
    if plan.has_outputs:
        lines.append("tell")
    return [*lines, 'rm -rf "$t"', "exit $code"]


def _attempts(plan: WrapPlan) -> list[str]:
    """Runs the command, again where a set's retry strategy says so."""
    logged = any(not artifact.path for artifact in plan.artifacts)
    if plan.result or logged:
        lines = _copying(result=bool(plan.result), logged=logged)
    else:
        lines = ['"$@" &', WAIT.strip("\n")]
    if plan.turn is None or plan.turn.attempts <= 1:
        return lines
    again = _AGAIN.strip("\n") % {"delay": f"{plan.turn.delay:g}"}
    return [f"left={plan.turn.attempts}", "while :; do", *lines, again, "done"]


def _copying(*, result: bool, logged: bool) -> list[str]:
    """Runs the command while what it prints is copied, to stdout and stderr as ever."""
    copies = ['tee "$t/stdout"'] if result else []
    copies += ['tee -a "$t/main.log"'] if logged else []
    first, *rest = copies
    lines = ['rm -f "$t/out" "$t/err"; mkfifo "$t/out" "$t/err"']
    lines.append(" | ".join([f'{first} <"$t/out"', *rest]) + " & tee=$!")
    if logged:
        lines.append('tee -a "$t/main.log" <"$t/err" >&2 & tee="$tee $!"')
    target = '>"$t/out" 2>"$t/err"' if logged else '>"$t/out"'
    return [*lines, f'"$@" {target} &', WAIT.strip("\n"), "wait $tee"]


def _kept(function: str, artifact: OutputArtifact) -> str:
    path = shlex.quote(artifact.path) if artifact.path else '"$t/main.log"'
    return f"{function} {shlex.quote(artifact.name)} {path}"


def _call(function: str, *arguments: str) -> str:
    return " ".join([function, *map(shlex.quote, arguments)])


def literal(text: str) -> str:
    """Text that the kubelet's ``$(VARIABLE)`` expansion leaves as it is."""
    return _EXPANSION.sub("$$", text)


@dataclass(slots=True)
class Report:
    """What a container said at its end; ``stored`` has keys of values too large for the message."""

    parameters: dict[str, str] = field(default_factory=dict)
    result: str | None = None
    stored: dict[tuple[str, str], str] = field(default_factory=dict)
    artifacts: set[str] = field(default_factory=set)
    missing: set[tuple[str, str]] = field(default_factory=set)
    failure: str = ""

    def give(self, kind: str, name: str, text: str) -> None:
        """Files a value; one line end at its end is not part of it."""
        text = text.removesuffix("\n")
        if kind == "result":
            self.result = text
        else:
            self.parameters[name] = text


def parse_report(message: str) -> Report:
    """Reads a termination message; what is no report at all gives an empty one."""
    report = Report()
    data = message.encode()
    position = 0
    while position < len(data):
        end = data.find(b"\n", position)
        line = data[position : end if end >= 0 else len(data)].decode()
        position = end + 1 if end >= 0 else len(data)
        match line.split(" "):
            case ["parameter" | "result" as kind, name, length] if length.isdigit():
                size = int(length)
                text = data[position : position + size].decode(errors="replace")
                report.give(kind, name, text)
                position += size + 1
            case ["stored", kind, name, key]:
                report.stored[kind, name] = key
            case ["artifact", name]:
                report.artifacts.add(name)
            case ["missing", kind, name]:
                report.missing.add((kind, name))
            case ["failed", *words]:
                report.failure = " ".join(words)
            case _:
                return report
    return report
