"""Everything that the package makes, compared with files: a change of its structure must not change any of them."""
