"""A real service with real cameras and subscribers, for benchmarks that break or wear it."""
