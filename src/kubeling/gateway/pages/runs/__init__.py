"""The pages of runs and workflows: how far they are, step by step, and what each step did."""
