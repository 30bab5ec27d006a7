"""Places to write results to, and formats of parts."""
