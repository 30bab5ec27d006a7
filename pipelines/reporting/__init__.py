"""What people and machines see of a job: progress, logs, metrics and the report."""
