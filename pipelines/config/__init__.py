"""What a person may choose: pydantic models of every command's keys, and the loader that reads them."""
