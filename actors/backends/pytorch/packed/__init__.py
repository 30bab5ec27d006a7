"""A pass over windows that lie end to end, without padding: the encoder, and attention within windows."""
