"""Every function an expression may use, by subject."""
