"""Running a job: passes of a Ray Data pipeline, the search for a poison row, and the estimate."""
