"""Models kept on nodes before anybody serves them: KServe's LocalModelCache and its kin."""
