"""Programs that stand in for the training images of Katib's examples.

Those download their data and bring frameworks of gigabytes. These take the same flags, print the
same lines and train for real, on data that scikit-learn brings along, so that the examples run
offline and in seconds. The catalogue of images leads upstream's names here.
"""
