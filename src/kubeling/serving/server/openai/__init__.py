"""OpenAI's API: its objects, the base classes of models that speak it, and its pages."""
