"""Drift: whether what a model is asked now still looks like what it was trained on.

numpy only, so that it runs beside a model or as a pipeline step without installing anything.
"""
