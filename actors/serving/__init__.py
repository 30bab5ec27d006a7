"""Online serving: the HTTP protocols, the replicas that answer, and the Ray Serve application around both."""
