"""TensorRT: plans, how they are built and kept, and the thin layer over its Python packages.

`api` opens `tensorrt` 10 or 11, or `tensorrt_rtx`; `build` turns an ONNX network into a serialized
plan; `plans` keeps them; `chain` opens the device chain with a plan as its network. What executes a
plan is `streamprn.engines.runtimes.tensorrt`.
"""
