"""The nodes of a cluster that somebody else started: which of them can work, and how one leaves."""
