"""Conformance tests for plug-ins, ours and a stranger's alike: each is run through what the package relies on."""
