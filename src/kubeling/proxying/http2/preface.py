"""What a client that speaks HTTP/2 without asking begins with (RFC 9113, 3.4)."""

from __future__ import annotations

from typing import Final

__all__ = ["PREFACE"]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
