"""The HTTP protocols, one module each: routes, the schema of their requests, and the shape of replies and errors."""
