"""`model.backend: auto` of a job: runtimes are compared on its own windows, in an actor of its pool."""
