"""The columns of built-in kinds, as ``kubectl get`` and ``-o wide`` show them.

What each cell says is what upstream's ``printers/internalversion`` prints, because people and
scripts read these words. A cell is a pure function of the object and of the moment it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kubeling.apiserver.columns.access import ACCESS_COLUMNS
from kubeling.apiserver.columns.cluster import CLUSTER_COLUMNS
from kubeling.apiserver.columns.column import AGE, NAME, Cell, Column, age_of, shown
from kubeling.apiserver.columns.flowcontrol import FLOW_CONTROL_COLUMNS
from kubeling.apiserver.columns.network import NETWORK_COLUMNS
from kubeling.apiserver.columns.pods import POD_COLUMNS
from kubeling.apiserver.columns.storage import STORAGE_COLUMNS
from kubeling.apiserver.columns.workloads import WORKLOAD_COLUMNS

__all__ = ["AGE", "BUILTIN_COLUMNS", "NAME", "Cell", "Column", "age_of", "shown"]

BUILTIN_COLUMNS: Final[Mapping[tuple[str, str], tuple[Column, ...]]] = {
    **POD_COLUMNS,
    **WORKLOAD_COLUMNS,
    **NETWORK_COLUMNS,
    **STORAGE_COLUMNS,
    **CLUSTER_COLUMNS,
    **ACCESS_COLUMNS,
    **FLOW_CONTROL_COLUMNS,
}
"""By group and kind; the name comes first of itself unless the columns have one."""
