"""What runs in processes of its own: the zygote and, per container, its supervisor.

These modules import nothing but a handful of the standard library's, because each running container
keeps one such interpreter resident. They talk to the agent through :mod:`.plan` only.
"""
