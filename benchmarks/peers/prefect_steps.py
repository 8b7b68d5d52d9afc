"""Prefect with a server of its own, started once: tasks in processes."""

import logging
import os
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

os.environ.setdefault("PREFECT_HOME", os.path.join(os.getcwd(), ".prefect"))
os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{20_000 + os.getpid() % 10_000}/api"
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")

from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner
from timing import best, sizes, tell

chain, fan, at_once, rounds = sizes()
PORT = urlsplit(os.environ["PREFECT_API_URL"]).netloc.partition(":")[2]
API = os.environ["PREFECT_API_URL"]  # of the tasks' processes, too
runner = ProcessPoolTaskRunner(max_workers=at_once)


@task
def add(x):
    return x + 1


@flow(task_runner=runner)
def chained(first):
    made = add.submit(first)
    for _ in range(chain - 1):
        made = add.submit(made)
    return made.result()


@flow(task_runner=runner)
def fanned(first):
    return [one.result() for one in [add.submit(first + n) for n in range(fan)]]


def wait_for_server():
    while True:
        try:
            with urlopen(f"{API}/health", timeout=10):
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    start = [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--port", PORT]
    with open(os.devnull, "w") as nothing:
        server = subprocess.Popen(start, stdout=nothing, stderr=nothing)
    try:
        wait_for_server()
        tell(chain=best(rounds, chained), fan=best(rounds, fanned, warm=True))
    finally:
        server.terminate()
        server.wait()
