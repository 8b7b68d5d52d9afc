"""Volumes that outlive pods: claims and what they are bound to, snapshots and copies.

A volume is a folder on this machine. Whatever a claim asks for in size is written down and counted
against quotas, but a folder has no size of its own: nothing stops a pod from writing more.
"""
