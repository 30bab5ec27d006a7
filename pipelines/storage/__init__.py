"""Stores through fsspec: whole-or-absent writes, byte ranges, and retries that end."""
