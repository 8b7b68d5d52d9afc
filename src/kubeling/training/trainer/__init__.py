"""``trainer.kubeflow.org``: TrainJobs, and the runtimes that say how they run."""
