"""The pages of experiments: how a search goes, what it says, its trials, and new ones."""
