"""Tenancy: a Profile is a person's or a team's namespace, with its quota and its roles."""
