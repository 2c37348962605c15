"""Conformance tests of the sockets: every plug-in, of this package or of another, has to pass them."""
