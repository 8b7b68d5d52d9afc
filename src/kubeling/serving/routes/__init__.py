"""Routes of the Gateway API for models, on clusters that have its kinds."""
