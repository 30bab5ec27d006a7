"""Runtimes, which execute the forward pass; `base` says what one is, and `actors.registry` names them."""
