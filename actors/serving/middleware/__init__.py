"""What every HTTP request passes through: id and log line, keys, body limits, disconnects."""
