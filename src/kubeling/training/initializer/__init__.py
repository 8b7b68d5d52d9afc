"""The program of initializers: fetches a data set or a model before training.

It runs in a pod (``python -m kubeling.training.initializer dataset|model``), is told by upstream's
variables what to fetch, and knows more kinds of storage than upstream's image.
"""
