"""``kubeling tune``: an Experiment from a plain script."""
