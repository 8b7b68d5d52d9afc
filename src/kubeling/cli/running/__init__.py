"""``kubeling run``: from a file to a run, watched to its end."""
