"""Notebooks: a JupyterLab (or any other image) behind the gateway."""
