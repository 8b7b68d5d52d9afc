"""Containers through the command line of podman or docker: images, and the second pod runtime."""
