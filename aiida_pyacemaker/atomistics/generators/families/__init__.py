"""The families of this package, each a module or a folder; `pyproject.toml` registers them by name."""
