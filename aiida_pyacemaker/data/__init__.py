"""Node types of the plugin."""
