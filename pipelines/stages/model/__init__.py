"""The stage that computes: a model of its own or a running service, and what it heeds beside its shards."""
