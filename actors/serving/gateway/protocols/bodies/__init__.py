"""Bodies of requests and replies, as the protocols share them: the schema of fields, and JSON in both directions."""
