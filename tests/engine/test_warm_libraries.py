"""Images whose libraries were imported ahead: programs forked with them see and do the same."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.engine.node import Node, container, pod
from tests.engine.test_warm_python import assert_same, ran, templates, until_ready

from kubeling.engine.images import Catalogue
from kubeling.engine.sandbox.warm.interpreter import KNOWN
from kubeling.engine.templates import ANNOTATION
from kubeling.kube.objects import Obj

pytest.importorskip("sklearn")
pytest.importorskip("onnxruntime")
pytest.importorskip("dateutil")
pytest.importorskip("lightgbm")
pytest.importorskip("tqdm")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="templates need root"),
    pytest.mark.skipif(sys.version_info[:2] not in KNOWN, reason="templates know other versions"),
]

LOOK = r"""
import os, sys, warnings
PATH, ARGV = list(sys.path), sys.argv
import numpy as np, sklearn.svm, sklearn.preprocessing, onnxruntime, uvloop
from kubeling.serving.server.formats import sklearn_model
from kubeling.serving import server
print(*sorted(name for name in sys.modules if "cython_" not in name), sep="\n")
print(PATH == sys.path, ARGV, sorted(os.environ.items()), os.getcwd(), sys.flags)
print([(f[0], getattr(f[1], "pattern", None), f[2], getattr(f[3], "pattern", None), f[4])
       for f in warnings.filters])
print([name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")])
print([hasattr(sklearn, name) for name in ("svm", "preprocessing", "ensemble", "cluster")])
print(server.__file__, server.__spec__.name, sklearn_model.__loader__.__class__)
import threading
print(threading.active_count(), threading.main_thread() is threading.current_thread())
"""

WORK = """
import multiprocessing, numpy as np
from concurrent.futures import ThreadPoolExecutor
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
rows = np.random.default_rng(0).normal(size=(300, 8))
labels = (rows.sum(axis=1) > 0).astype(int)
def score(model): return round(float(model.fit(rows, labels).score(rows, labels)), 4)
def square(number): return number * number
forest = RandomForestClassifier(10, random_state=0, n_jobs=2)
models = [SVC(), KNeighborsClassifier(n_jobs=2), forest]
print([score(model) for model in models])
print(round(float(np.linalg.norm(np.linalg.inv(rows.T @ rows) @ (rows.T @ rows))), 6))
with ThreadPoolExecutor(2) as pool: print(sum(pool.map(square, range(50))))
with multiprocessing.get_context("fork").Pool(2) as pool: print(sum(pool.map(square, range(50))))
"""

LUCK = """
import multiprocessing, numpy.random, random, sys
import sklearn.utils
print(numpy.random.random(), sklearn.utils.check_random_state(None).random_sample(),
      bytes(multiprocessing.current_process().authkey).hex(), random.random())
"""

FINDER = """
import sys
before = len(sys.meta_path)
import six
from six.moves import queue, urllib_parse
print(len(sys.meta_path) - before, sys.meta_path[-1].__class__, queue.__name__)
import six.moves.urllib.request
print(six.moves.urllib.request.urlopen.__module__, urllib_parse.quote("a b"))
import importlib, dateutil.parser
print(importlib.util.find_spec("six.moves.html_parser").loader.__class__)
"""

LOADED = """
import importlib._bootstrap as b
load, names = b._load_unlocked, []
b._load_unlocked = lambda spec: (names.append(spec.name), load(spec))[1]
import kubeling.serving.server.__main__, kubeling.serving.server.formats.sklearn_model
import joblib, sklearn.svm, sklearn.ensemble, uvloop, onnxruntime, multiprocessing
print(names)
"""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """To import such libraries takes ten seconds where much else is done."""
    for module in ("tests.engine.node", "tests.engine.test_warm_python"):
        monkeypatch.setattr(f"{module}.TIMEOUT", 120.0)


def program(name: str, text: str, cold: bool = False) -> Obj:
    made = pod(name, container(image="learning", command=["python", "-c", text]))
    made["metadata"]["annotations"] = {ANNOTATION: "false"} if cold else {}
    return made


def describe_image(node: Node, *more: str) -> None:
    """An image that has ahead what scikit-learn's servers have."""
    known = Catalogue(Path("/nowhere"), {}).find("kubeling/model-server:sklearn")
    ahead = ", ".join([*known.ahead, *more])
    text = f"learning:\n  python: {{}}\n  env: {{ORT_DISABLE_TELEMETRY: '1'}}\n  ahead: [{ahead}]\n"
    (node.engine.config.data_dir / "images.yaml").write_text(text)


async def warm(node: Node, *more: str) -> None:
    """Has a template made."""
    describe_image(node, *more)
    for _ in range(2):
        await ran(node, program("first", "1"))
    await until_ready(node)


async def forked(node: Node, text: str) -> tuple[Any, ...]:
    before = templates(node).forked
    found = await ran(node, program("p", text))
    assert templates(node).forked == before + 1
    return found


async def test_libraries_that_are_there_already_look_and_work_the_same(node: Node) -> None:
    await warm(node, "six", "dateutil.parser")
    for text in (LOOK, WORK, FINDER):
        executed = await ran(node, program("p", text, cold=True))
        assert executed[0] == 0, executed
        assert_same(executed, await forked(node, text), text)


async def test_what_ought_to_be_different_is_and_nothing_is_read_from_disk(node: Node) -> None:
    await warm(node)
    said = [set((await forked(node, LUCK))[3][0].split()) for _ in range(3)]
    assert all(len(words) == 4 for words in said)
    assert len(set().union(*said)) == 12

    assert (await forked(node, LOADED))[3] == ["[]"]


IMPORTER = """
import sys
class Nothing:
    find_spec = staticmethod(lambda *_: None)
sys.meta_path.append(Nothing)
import numpy, onnxruntime, sklearn.svm
print(numpy.arange(2))
"""

VARIABLES = """
import os
os.environ |= {"NPY_PROMOTION_STATE": "weak", "SKLEARN_SEED": "1", "SCIPY_ARRAY_API": "0"}
import numpy, onnxruntime, sklearn.svm
print(numpy.arange(2))
"""

ELSEWHERE = """
import os, sys
open("numpy.json", "w").close()
os.makedirs("scipy", exist_ok=True)
sys.path[1:] = reversed(sys.path[1:])
import numpy, onnxruntime, sklearn.svm
print(numpy.arange(2))
"""

HIDDEN = """
import os, sys
with open("numpy.py", "w") as file:
    file.write("mine = 1")
import numpy
os.remove("numpy.py")
print(numpy.mine)
"""

LATER = """
import os, sys
import numpy
with open("numpy.py", "w") as file:
    file.write("mine = 1")
import numpy.random, sklearn.svm
os.remove("numpy.py")
print(numpy.arange(2))
"""

DEPENDING = [
    ("SKLEARN_ASSUME_FINITE", "true", "print(get_config()['assume_finite'])", "True"),
    # These cannot be imported a second time.
    ("NUMPY_MADVISE_HUGEPAGE", "0", "print(numpy.ones(2).sum())", "2.0"),
    # It has no extension itself, but needs some.
    ("LIGHTGBM_BUILD_DOC", "True", "print(type(lightgbm.basic._LIB).__name__)", "Mock"),
    ("TQDM_NCOLS", "7", "print(tqdm.std.tqdm([], file=open('/dev/null', 'w')).ncols)", "7"),
]


async def test_libraries_that_depend_on_a_variable_are_imported_anew(node: Node) -> None:
    await warm(node, "tqdm.std", "lightgbm")
    imports = "import numpy, tqdm.std, lightgbm; from sklearn import get_config"
    assert (await forked(node, f"{imports}; print(tqdm.__name__)"))[3] == ["tqdm"]
    # What the program itself does cannot be known before it is forked.
    for text in (IMPORTER, VARIABLES, ELSEWHERE, LATER):
        assert (await forked(node, text))[3] == ["[0 1]"]
    assert (await forked(node, HIDDEN))[3] == ["1"]
    for name, value, text, said in DEPENDING:
        made = program("p", f"{imports}; {text}")
        made["spec"]["containers"][0]["env"] = [{"name": name, "value": value}]
        assert (await ran(node, made))[3] == [said]
