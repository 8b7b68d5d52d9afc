"""A model's twin in ONNX: made while the model serves, and used once it is proved equal.

ONNX Runtime predicts a row many times quicker than scikit-learn does, but converting takes seconds
and much memory, and a converter may be wrong. So a process of its own converts, at low priority and
first in line when memory runs out (``__main__``), makes rows that reach every part of the model
(``probes``) and compares what both say (``proof``). Only then does the server put the twin in the
model's place (``background``), and the first rows that clients send are still predicted by both
(``twin``). Whatever fails leaves the model as it was, and its metadata says why.
"""
