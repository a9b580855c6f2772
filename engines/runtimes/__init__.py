"""Runtimes: what executes a network graph. Their modules load only when they are chosen.

Each module offers two functions:

- `unusable() -> str`: why this machine cannot use the runtime, or an empty string.
- `open_runtime(network: NetworkSpec) -> streamprn.engines.protocol.Runtime`.
"""
