"""What happens to a shard: read, prepare, model, write."""
