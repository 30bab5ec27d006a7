"""The HTTP side of `spanmill view`: the application, who may ask it, and the server."""
