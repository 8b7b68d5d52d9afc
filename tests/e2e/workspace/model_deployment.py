print("model-deployment done")
