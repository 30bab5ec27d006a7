"""Runtimes that execute the forward pass, one file each, behind one small protocol."""
