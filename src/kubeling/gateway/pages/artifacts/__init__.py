"""The pages of artifacts: what there is, what is in one, and which runs made and used it."""
