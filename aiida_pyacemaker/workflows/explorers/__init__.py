"""Explorers: the engines that explore, exchangeable by the entry point group ``pyacemaker.explorers``."""
