"""The small model that ships, and what builds it."""
