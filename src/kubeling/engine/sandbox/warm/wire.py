"""What supervisors and templates say to each other."""

from __future__ import annotations

KNOCK = b"k"
"""Sent to the template, with the files that go with a request."""
HEADER = 4
"""How many bytes say how long the request is that the fork reads."""
GO = b"g"
"""Answers the command's process id: it may begin."""
FORMAT = 4
"""Of :mod:`marshal`: every Python that a template may run on reads it."""
