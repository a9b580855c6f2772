"""The Position Map Regression Network of the PRN paper, from its official checkpoint.

`architecture` is the network as data, `graph` writes it as ONNX, `uvdata` turns the authors'
UV files into a topology, `importer` puts the bundle together.
"""
