"""The pages of training jobs: all of them, and one with its replicas, progress and logs."""
