"""Programs to run in both ways, and the files that they are."""

from pathlib import Path

PROBE = Path(__file__).with_name("warm_probe.txt").read_text()
"""Tells everything that a program can find out about its start."""

FILES = {
    "probe.py": PROBE,
    "shadowing/random.py": """\
def random(): return 'mine'
""",
    "shadowing/main.py": """\
import random, tempfile, sys
print(random.random(), random.__file__)
print(tempfile._Random, sorted(m for m in sys.modules if 'rand' in m))
""",
    "late.py": """\
import sys, os
sys.path.insert(0, 'shadowing')
import tempfile, random
print(random.random(), tempfile._Random)
""",
    "package/__init__.py": """\
print('package', __name__)
""",
    "package/__main__.py": """\
import sys; print(__name__, sys.argv, __spec__.name, __package__)
""",
    "package/inner.py": """\
raise ValueError('in a module')
""",
    "wrong.py": """\
def f(:
""",
    "stack.py": """\
import traceback, warnings, inspect
def f(): traceback.print_stack(); warnings.warn('far', UserWarning, stacklevel=9)
warnings.warn('near', UserWarning)
f()
print([x.function for x in inspect.stack()])
""",
    "encoded.py": """\
# -*- coding: latin-1 -*-
print('ä', ascii('ä'))
""",
    "import_errors.py": """\
for name in ('nothing', 'json.nothing', 'package.inner', 'wrong', 'xml.etree'):
    try:
        __import__(name); print('imported', name)
    except BaseException:
        import traceback; traceback.print_exc()
""",
    "submodules.py": """\
import concurrent, xml, importlib, email, os
print(*(hasattr(*pair) for pair in ((concurrent, 'futures'), (xml, 'etree'),
      (importlib, 'metadata'), (email, 'message'), (os, 'path'))))
import concurrent.futures, xml.etree.ElementTree
print(concurrent.futures.ThreadPoolExecutor.__name__, xml.etree.ElementTree.__name__)
""",
    "own_modules.py": """\
import sys, types
fake = types.ModuleType('bisect'); fake.insort = fake.bisect = 'fake'
sys.modules['bisect'] = fake
import random
print(random._bisect)
sys.modules.pop('random'); import random as again
print(again is random)
""",
    "finder.py": """\
import sys
class Finder:
    def find_spec(self, name, path=None, target=None): print('asked for', name)
sys.meta_path.insert(0, Finder())
import json
print(json.dumps([1]))
""",
    "forks.py": """\
import os, sys
print('one', flush=True)
if os.fork() == 0:
    print('child', os.getppid()); sys.exit(4)
print(os.waitstatus_to_exitcode(os.wait()[1]))
import subprocess, multiprocessing
print(subprocess.run(['sh', '-c', 'echo $PPID; exit 5'], capture_output=True))
if __name__ == '__main__':
    for method in ('fork', 'spawn'):
        context = multiprocessing.get_context(method)
        process = context.Process(target=print, args=(method,)); process.start()
        process.join(); print(process.exitcode)
""",
    "threads.py": """\
import threading, time, atexit
atexit.register(print, 'last')
done = threading.Event()
threading.Thread(target=lambda: (done.wait(), print('thread'))).start()
threading.Thread(target=lambda: 1 / 0, name='failing').start()
print('main'); done.set()
""",
    "logs.py": """\
import atexit
atexit.register(print, 'first registered')
import logging
logging.basicConfig(level='INFO'); logging.warning('hello')
class H(logging.Handler):
    def flush(self): print('flushed')
h = H(); logging.getLogger().addHandler(h)
""",
    "asynchronous.py": """\
import asyncio
async def main():
    await asyncio.sleep(0)
    print(await asyncio.to_thread(lambda: 5))
asyncio.run(main())
""",
    "signals.py": """\
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *a: (print('terminated', flush=True), sys.exit(9)))
os.kill(os.getpid(), signal.SIGTERM)
import time; time.sleep(10)
""",
    "deep.py": """\
import sys
def f(n): return n if n == 0 else f(n - 1)
print(f(990))
def depth(n=0):
    try: return depth(n + 1)
    except RecursionError: return n
print(depth())
""",
    "write.py": """\
import sys
sys.stdout.write('no end of line')
sys.stderr.write('nor here')
""",
}

PROGRAMS: dict[str, list[str]] = {
    "script": ["python", "probe.py", "a", "b c", "", "é"],
    "module": ["python", "-m", "probe", "-x"],
    "text": ["python", "-c", PROBE, "1"],
    "unbuffered": ["python", "-u", "probe.py"],
    "by-another-name": ["python3", "probe.py"],
    "path-with-a-dot": ["python", "./probe.py"],
    "package": ["python", "-m", "package", "a"],
    "inner": ["python", "-m", "package.inner"],
    "shadowed": ["python", "shadowing/main.py"],
    "shadowed-late": ["python", "late.py"],
    "syntax-error": ["python", "wrong.py"],
    "text-with-an-error": ["python", "-c", "import os\nx = (\n"],
    "stack": ["python", "stack.py"],
    "encoded": ["python", "encoded.py"],
    "import-errors": ["python", "import_errors.py"],
    "submodules": ["python", "submodules.py"],
    "own-modules": ["python", "own_modules.py"],
    "finder": ["python", "finder.py"],
    "forks": ["python", "forks.py"],
    "threads": ["python", "threads.py"],
    "logs": ["python", "logs.py"],
    "asynchronous": ["python", "asynchronous.py"],
    "signals": ["python", "signals.py"],
    "deep": ["python", "deep.py"],
    "write": ["python", "write.py"],
    "json-tool": ["python", "-m", "json.tool", "probe.py"],
    "no-script": ["python", "none.py"],
    "no-module": ["python", "-m", "none"],
    "folder": ["python", "package"],
    "exit-3": ["python", "-c", "import sys; sys.exit(3)"],
    "exit-text": ["python", "-c", "import sys; sys.exit('why')"],
    "exit-at-once": ["python", "-c", "import os; os._exit(7)"],
    "exception": ["python", "-c", "def f():\n    raise KeyError('x')\nf()"],
    "interrupt": ["python", "-c", "raise KeyboardInterrupt"],
    "hook": ["python", "-c", "import sys; sys.excepthook = lambda *a: print(a[:2]); 1 / 0"],
    "abort": ["python", "-c", "import os; os.abort()"],
    "killed": ["python", "-c", "import os; os.kill(os.getpid(), 9)"],
    "terminated": ["python", "-c", "import os; os.kill(os.getpid(), 15)"],
    "closed-output": ["python", "-c", "import os; os.close(1); print(5)"],
    "reads": ["python", "-c", "import sys; print(repr(sys.stdin.read()))"],
}
