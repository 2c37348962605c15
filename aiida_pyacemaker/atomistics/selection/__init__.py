"""Which configurations are worth a label."""
