"""Plug-ins for aiida-pyacemaker: an oracle, an explorer, a family of structures and a property of the validation."""
