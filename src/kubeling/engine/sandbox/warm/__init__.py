"""Python commands as forks of an interpreter that has started already.

A *template* is an interpreter of an environment, started as its programs would be and then kept: it
imports ahead what they are likely to import and sets that aside (:mod:`.recording`,
:mod:`.shelf`), and forks when a container's supervisor asks (:mod:`.asking`, :mod:`.template`). The
fork enters the container (:mod:`.entering`) and lets the interpreter run the command as if it had
just been started with it (:mod:`.interpreter`).

All but :mod:`.asking` run in the environment's own interpreter, of whatever version, in whose
modules they must leave no trace: they import little, and nothing after the template is ready.
"""
