"""The small model that ships, and the scripts that build it."""
