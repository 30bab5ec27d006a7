"""Scheduling of online requests: their queue, which of them is next on the device, and which windows share its pass."""
