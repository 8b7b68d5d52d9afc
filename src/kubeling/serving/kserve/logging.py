"""Loggers, as ``kserve.logging`` has them."""

from __future__ import annotations

import json
import logging
import logging.config
from pathlib import Path
from typing import Any, Final

__all__ = ["configure_logging", "logger", "trace_logger"]

logger: Final = logging.getLogger("kserve")
trace_logger: Final = logging.getLogger("kserve.trace")


def configure_logging(log_config: dict[str, Any] | str | None = None) -> None:
    """Logs to standard error, or as a configuration (or a file with one, JSON or YAML) says."""
    if log_config is None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        return
    if isinstance(log_config, str):
        text = Path(log_config).read_text()
        if log_config.endswith((".yaml", ".yml")):
            import yaml

            log_config = yaml.safe_load(text)
        else:
            log_config = json.loads(text)
    assert isinstance(log_config, dict)
    logging.config.dictConfig(log_config)
