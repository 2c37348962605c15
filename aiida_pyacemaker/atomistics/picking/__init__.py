"""Choice of a few configurations among many."""
