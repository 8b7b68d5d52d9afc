"""The Kubernetes version whose API is spoken.

Clients choose their habits by it, and some warn of versions they do not know yet: this is the
newest that none of those we test with warns of.
"""

from __future__ import annotations

from typing import Final

__all__ = ["KUBERNETES_VERSION"]

KUBERNETES_VERSION: Final = "v1.34.0"
