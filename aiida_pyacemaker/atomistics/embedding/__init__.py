"""Periodic embedding: a local environment of a large cell as a small periodic cell with the true core forces."""
