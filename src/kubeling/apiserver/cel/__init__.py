"""CEL: the expressions in CRDs and admission policies.

Lexer, parser, checker and compiler are plain functions of their input; :mod:`functions` holds
CEL's own library and Kubernetes'. ``docs/decisions/0009-cel.md`` says why it is written here.
Nothing imports this package until there is an expression.
"""
