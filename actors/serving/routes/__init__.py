"""Families of routes, a file for each protocol that clients speak: from its fields to a request, and back."""
