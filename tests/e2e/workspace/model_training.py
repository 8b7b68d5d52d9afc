print("model-training done")
