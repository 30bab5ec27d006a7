"""Under which names stores tell of a file's content."""

CONTENT_KEYS = ("ETag", "etag", "md5Hash", "generation", "blob_id")
"""Keys of an fsspec entry whose value changes when the file's content does: of S3 and HTTP, Azure, Google (two), and
the Hugging Face hub."""
