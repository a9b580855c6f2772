"""The service around a pipeline: steered over HTTP, measured, watched, reloaded.

Everything here is beside the engine: no frame waits for a client. Starlette, uvicorn and the
Prometheus client come with the extra `serve` and are loaded only where HTTP is asked for.
"""
