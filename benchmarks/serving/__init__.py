"""The service and the jobs beside it, measured side by side in one run."""
