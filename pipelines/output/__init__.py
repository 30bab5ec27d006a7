"""What a job leaves behind: parts, manifest, receipts, and the commit of a shard."""
