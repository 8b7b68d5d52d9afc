"""``kubeling serve`` and ``kubeling predict``."""
