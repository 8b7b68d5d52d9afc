import json
import os

cluster = json.loads(os.environ.get("TF_CONFIG", "{}"))
print("trained", cluster.get("task", {}))
