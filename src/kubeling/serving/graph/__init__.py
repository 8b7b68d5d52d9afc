"""InferenceGraphs: several services behind one address, asked in an order that the graph says."""
