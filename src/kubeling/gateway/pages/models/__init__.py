"""Served models: their pages, forms and actions."""
