"""From raw rows to valid ones: typed columns, default ids, and quarantine with the reason."""
