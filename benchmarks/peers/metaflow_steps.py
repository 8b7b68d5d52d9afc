"""Metaflow: a process per task; a flow is a program, which is written here and run."""

import os
import subprocess
import sys
from pathlib import Path

from timing import best, sizes, tell

chain, fan, at_once, rounds = sizes()

CHAIN = "from metaflow import FlowSpec, step\n\nclass Chain(FlowSpec):\n"
CHAIN += "    @step\n    def start(self):\n        self.x = 0\n        self.next(self.s1)\n"
for number in range(1, chain - 1):
    after = "end" if number == chain - 2 else f"s{number + 1}"
    CHAIN += f"    @step\n    def s{number}(self):\n        self.x += 1\n"
    CHAIN += f"        self.next(self.{after})\n"
CHAIN += "    @step\n    def end(self):\n        pass\n\nif __name__ == '__main__':\n    Chain()\n"

FAN = f"""from metaflow import FlowSpec, step

class Fan(FlowSpec):
    @step
    def start(self):
        self.items = list(range({fan}))
        self.next(self.add, foreach="items")

    @step
    def add(self):
        self.x = self.input + 1
        self.next(self.join)

    @step
    def join(self, inputs):
        self.all = [one.x for one in inputs]
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    Fan()
"""


def run(name, text):
    Path(name).write_text(text)
    command = [sys.executable, name, "--quiet", "run", "--max-workers", str(at_once)]
    command += ["--max-num-splits", str(fan)]
    env = {**os.environ, "USERNAME": "benchmark"}
    subprocess.run(command, check=True, capture_output=True, env=env)


if __name__ == "__main__":
    tell(
        chain=best(rounds, lambda _: run("chain.py", CHAIN)),
        fan=best(rounds, lambda _: run("fan.py", FAN), warm=True),
    )
