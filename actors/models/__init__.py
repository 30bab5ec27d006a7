"""A model by name: found, downloaded, fingerprinted, and loaded into an engine."""
