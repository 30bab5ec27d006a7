"""`spanmill bundle`: a model with the modules that its handler needs."""
