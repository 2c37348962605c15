"""Conformance tests of the sockets: any plug-in, ours or a stranger's, is run through them before it is believed."""
