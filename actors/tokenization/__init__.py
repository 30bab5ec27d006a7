"""Text to windows: tokens, word pieces, and what a model actor needs of a shard."""
