"""Training an engine of one's own: pictures to labels, labels to a network, the network exported.

Only `streamprn train` imports this package; it needs the extra `train` (PyTorch, SciPy, ONNX).
"""
