"""The package of :mod:`.openai`."""
