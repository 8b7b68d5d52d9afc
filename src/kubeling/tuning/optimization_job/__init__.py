"""``OptimizationJob``, which upstream prepares as Katib's successor (kubeflow/trainer, KEP-2605).

Nothing outside of this folder knows the kind, because its API is not released and may move.
Trials are plain TrainJobs: their annotations are the history, their reported metrics the results,
so there is neither a Trial nor a database.
"""
