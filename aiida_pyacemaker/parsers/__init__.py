"""Parsers: from the files of an engine to nodes and exit codes."""
