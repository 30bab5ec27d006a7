"""A student that learns from another model: how it is made, and what its teacher says of each window."""
