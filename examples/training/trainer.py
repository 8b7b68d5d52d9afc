def train():
    import os

    print(f"node {os.environ['DMLC_TASK_ID']} of {os.environ['DMLC_NUM_WORKER']}", flush=True)


train()
