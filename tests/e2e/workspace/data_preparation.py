print("data-preparation done")
