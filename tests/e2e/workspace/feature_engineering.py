print("feature-engineering done")
