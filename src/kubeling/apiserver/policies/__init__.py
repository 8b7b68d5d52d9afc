"""Admission policies: ``ValidatingAdmissionPolicy``, ``MutatingAdmissionPolicy`` and bindings.

A policy says in CEL what may be written, a binding where it holds and what follows. Policies are
compiled when one first applies, so a server without any never loads the language.
"""
