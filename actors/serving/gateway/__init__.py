"""What answers HTTP requests: the application, its routes, and the calls to replicas."""
