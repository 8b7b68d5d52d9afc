print("model-validation done")
