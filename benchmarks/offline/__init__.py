"""Offline speed: the engine and the whole job beside their floor, and beside what others would use."""
