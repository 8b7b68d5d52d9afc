"""Tokens of issuers outside: OpenID Connect, as kube-apiserver understands it.

Which issuers, and what their tokens' claims make of a user, is Kubernetes'
``AuthenticationConfiguration``; the flags ``--oidc-…`` describe one such issuer.
"""
