"""The pages of the service for people: what a browser shows at `/`, and the routes to try at `/docs`."""
