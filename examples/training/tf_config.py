"""Prints what a TensorFlow process is told about the cluster it belongs to."""

import json
import os


def main() -> None:
    config = json.loads(os.environ["TF_CONFIG"])
    task, cluster = config["task"], config["cluster"]
    peers = cluster[task["type"]]
    print(f"{task['type']} {task['index']} of {len(peers)} at {peers[task['index']]}", flush=True)


if __name__ == "__main__":
    main()
