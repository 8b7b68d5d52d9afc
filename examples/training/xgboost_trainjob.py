"""The script of xgboostjob.yaml for a TrainJob, whose runtime names things differently."""

import os
import runpy

os.environ |= {
    "RANK": os.environ["DMLC_TASK_ID"],
    "WORLD_SIZE": os.environ["DMLC_NUM_WORKER"],
    "MASTER_ADDR": os.environ["DMLC_TRACKER_URI"],
    "MASTER_PORT": os.environ["DMLC_TRACKER_PORT"],
}

if __name__ == "__main__":
    runpy.run_path("xgboost_distributed.py", run_name="__main__")
