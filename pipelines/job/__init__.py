"""A job bound to its output, and what it runs on: the Ray cluster, the pool, the model."""
