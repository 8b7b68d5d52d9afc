"""The artifact store: one interface over the places where artifacts are kept."""
