"""``kubeling workflow`` and its siblings: what Argo's command line does, with the same flags."""
