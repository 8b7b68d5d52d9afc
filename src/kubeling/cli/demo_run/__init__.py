"""The main job's stages, their live view and their report."""
