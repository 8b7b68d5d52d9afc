"""The four small languages of a Workflow, each a pure module of its own.

``tags`` puts values into text (``{{steps.a.outputs.result}}``), ``exprlang`` computes them
(``{{=asInt(x) + 1}}``), ``conditions`` decides ``when``, ``depends`` orders the tasks of a DAG.
"""

from kubeling.workflows.expressions.errors import ExpressionError

__all__ = ["ExpressionError"]
