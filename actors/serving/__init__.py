"""The model actors as a service: requests, limits, routes, and the Ray Serve application around them."""
