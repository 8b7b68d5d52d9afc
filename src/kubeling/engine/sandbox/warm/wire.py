"""What supervisors and templates say to each other."""

from __future__ import annotations

import _socket

KNOCK = b"k"
"""Sent to the template, with the fork's end of the way and the process whose ids it is to have."""
MOST_FILES = 32
CLOSE_ON_EXEC = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
HEADER = 4
"""How many bytes say how long the request is that the fork reads; the files come with them."""
GO = b"g"
"""Answers the command's process id: it may begin."""
FORMAT = 4
"""Of :mod:`marshal`: every Python that a template may run on reads it."""
