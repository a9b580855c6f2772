"""TensorRT: plans, how they are built and kept, and the thin layer over its Python packages.

`api` opens `tensorrt` 10 or 11, or `tensorrt_rtx`; `build` turns an ONNX network into a serialized
plan; `plans` keeps them; `driver` asks the CUDA driver what GPU there is. What executes a plan is
`streamprn.engines.runtimes.tensorrt`.
"""
