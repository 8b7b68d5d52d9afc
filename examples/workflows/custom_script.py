"""The script that ``custom-ml-workflow.yaml`` runs: it finds the mean of a few numbers."""

from statistics import mean

numbers = [2, 3, 5, 7, 11]
print(f"mean={mean(numbers)}")
