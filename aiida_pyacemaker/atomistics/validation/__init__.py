"""Errors of a potential and what follows from them."""
