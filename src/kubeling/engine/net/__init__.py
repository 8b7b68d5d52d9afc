"""Pods' own networks: a bridge per platform instance, an address per pod (Linux, as root)."""
