"""Makes a model's twin while the model already answers, or finds one that was made before."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kubeling.serving.server.conversion.keeping import Keeping, Known, Proof, digest_of
from kubeling.serving.server.conversion.probes import SAMPLES
from kubeling.serving.server.conversion.proof import ABSOLUTE, RELATIVE, Found
from kubeling.serving.server.conversion.twin import WATCHED, Twin, open_session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["Conversion"]

log = logging.getLogger(__name__)

_SECONDS: Final = 300
_LARGEST: Final = 100 * 2**20
_NEEDED: Final = {
    "sklearn": ("onnxruntime", "skl2onnx"),
    "xgboost": ("onnxruntime", "onnxmltools"),
    "lightgbm": ("onnxruntime", "onnxmltools"),
}


class Conversion:
    """The twin of a model once there is one, and the word on how far it is.

    ``original`` answers rows as the model does, ``sure`` is called once when the twin needs no more
    watching; both where predictions run.
    """

    def __init__(
        self,
        format_name: str,
        directory: Path,
        file: Path,
        original: Callable[[Array], Array],
        sure: Callable[[], None],
        keeping: Keeping | None = None,
    ) -> None:
        self.twin: Twin | None = None
        self._said = "not tried"
        self._format = format_name
        self._directory = directory
        self._file = file
        self._original = original
        self._sure = sure
        self._keeping = keeping
        self._digest = ""
        self._proof: Proof | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = False

    @property
    def state(self) -> str:
        """For people: whether ONNX answers, and if not, why."""
        if self.twin is not None and self.twin.given_up:
            return "no: a request was answered otherwise in ONNX than by the model"
        return self._said

    def found(self) -> Known | None:
        """Puts a twin in place that was kept; what is known of its model, if it needs no other."""
        if self._format not in _NEEDED or self._missing():
            return None
        if self._file.stat().st_size > _LARGEST:
            return None
        self._digest = self._digest_now()
        found = None if self._keeping is None else self._keeping.find(self._digest)
        if found is None:
            return None
        try:
            self._put_in_place(found[0], open_session(found[1]))
        except Exception:
            # ONNX Runtime raises all kinds; the model itself is there, and so is its conversion.
            log.warning("the twin that was kept cannot be opened; it is made anew", exc_info=True)
            if self._keeping is not None:
                self._keeping.drop(self._digest)
            return None
        return found[0].known if found[0].watched >= WATCHED else None

    def start(self, known: Known) -> None:
        """Begins, in a process of its own, if no twin was found; returns at once."""
        if self.twin is not None:
            return
        if missing := self._missing():
            self._said = f"no: the Python package {missing} is not installed; kubeling[onnx] has it"
        elif self._file.stat().st_size > _LARGEST:
            self._said = f"no: {self._file.name} is larger than {_LARGEST // 2**20} MiB"
        else:
            self._said = "being made"
            threading.Thread(
                target=self._make, args=(known,), name="conversion", daemon=True
            ).start()

    def stop(self) -> None:
        """Ends the process, if it still runs, and notes how far the twin was watched."""
        self._stopped = True
        if self._child is not None:
            self._child.kill()
        if self.twin is not None and self._proof is not None and not self.twin.given_up:
            watched = min(self.twin.watched, WATCHED)
            if watched > self._proof.watched:
                self._keep(msgspec.structs.replace(self._proof, watched=watched))

    def _digest_now(self) -> str:
        samples = (path for name in SAMPLES for path in sorted(self._directory.rglob(name)))
        return digest_of(self._format, [self._file, *samples])

    def _missing(self) -> str:
        absent = (n for n in _NEEDED[self._format] if importlib.util.find_spec(n) is None)
        return next(absent, "")

    def _make(self, known: Known) -> None:
        try:
            with TemporaryDirectory(prefix="onnx-") as folder:
                self._said = self._made(Path(folder) / "model.onnx", known)
        except subprocess.TimeoutExpired:
            self._said = f"no: not done after {_SECONDS} s"
        except Exception as error:
            # The model answers all the same; what stands in the way of its twin is said.
            self._said = f"no: {type(error).__name__}: {error}"
        if not self._stopped:
            log.info("ONNX: %s", self._said)

    def _made(self, out: Path, known: Known) -> str:
        module = "kubeling.serving.server.conversion"
        command = [sys.executable, "-m", module, self._format, str(self._directory), str(out)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            self._child = child
            if self._stopped:
                child.kill()
            try:
                text, _ = child.communicate(timeout=_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                raise
        if child.returncode:
            return f"no: the converting process ended with {child.returncode}"
        report = msgspec.json.decode(text, type=Found)
        if report.answer is None:
            return f"no: {report.reason}"
        if self._digest_now() != self._digest:
            return "no: the model's files changed while it was converted; load it again"
        twin = out.read_bytes()
        proof = Proof(report.answer, report.rows, 0, known, hashlib.sha256(twin).hexdigest())
        session = open_session(twin)
        # Before anybody is answered by it: what that shows is noted beside what is kept.
        self._keep(proof, twin)
        self._put_in_place(proof, session)
        return self._said

    def _put_in_place(self, proof: Proof, session: Any) -> None:
        self._proof = proof
        self.twin = Twin(session, proof.answer, self._original, self._watched, proof.watched)
        self._said = (
            f"yes: equal on {proof.rows} rows, labels exactly and numbers within "
            f"{ABSOLUTE:g} + {RELATIVE:g} of their size"
        )

    def _watched(self, alike: bool) -> None:
        """What the rows of clients showed."""
        if alike:
            if self._proof is not None:
                proof = msgspec.structs.replace(self._proof, watched=WATCHED)
                threading.Thread(target=self._keep, args=(proof,), name="keeping").start()
            self._sure()
        elif self._keeping is not None and self._digest:
            self._keeping.drop(self._digest)

    def _keep(self, proof: Proof, twin: bytes | None = None) -> None:
        self._proof = proof
        if self._keeping is not None and self._digest:
            self._keeping.put(self._digest, proof, twin)
