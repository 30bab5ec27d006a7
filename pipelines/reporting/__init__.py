"""How a job is observed: progress on the terminal, JSON logs, Prometheus metrics, and the report."""
