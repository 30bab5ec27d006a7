"""What holds a model in the service: it checks and cuts the texts of a request, and answers it."""
