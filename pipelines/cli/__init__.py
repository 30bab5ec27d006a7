"""The `spanmill` command."""
