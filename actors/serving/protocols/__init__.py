"""The protocols that clients speak, a file each: from a route's fields to a request, and back."""
