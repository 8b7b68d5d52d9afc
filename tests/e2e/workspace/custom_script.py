print("custom component ran")
