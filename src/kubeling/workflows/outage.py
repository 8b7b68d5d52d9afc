"""What is tried again every few seconds is told of once, in words, and again when it works."""

from __future__ import annotations

import logging

from kubeling.kube.errors import ApiError

__all__ = ["Outage"]


class Outage:
    """Whether something works, for the log. Errors that nobody foresaw keep their traceback."""

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._said = ""

    def goes_on(self, error: Exception) -> None:
        """It did not work."""
        words = str(error)
        if words == self._said:
            return
        self._said = words
        unforeseen = not isinstance(error, ApiError | ConnectionError)
        self._log.warning("%s: %s", self._what, words, exc_info=unforeseen)

    def is_over(self) -> None:
        """It worked."""
        if self._said:
            self._log.warning("%s: read again", self._what)
        self._said = ""
