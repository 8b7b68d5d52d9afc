"""TrainedModel: many models behind one InferenceService, loaded and unloaded while it serves.

A predictor that names no model serves what TrainedModels name. The controller lists them in a
ConfigMap, in upstream's form; an agent in each pod reads it, fetches the models, and tells the
server by the Open Inference Protocol's repository calls. So it goes with any server that has those.
"""
