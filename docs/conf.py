"""Configuration of the documentation: Sphinx, MyST, furo."""

from __future__ import annotations

import sys
from pathlib import Path

from aiida_pyacemaker import __version__

sys.path.insert(0, str(Path(__file__).parent / '_ext'))

project = 'aiida-pyacemaker'
copyright = 'the authors of aiida-pyacemaker'
release = version = __version__

extensions = ['sphinx.ext.autodoc', 'myst_parser', 'sphinx_design', 'generate_reference']
autodoc_member_order = 'bysource'
autodoc_typehints_format = 'short'
myst_enable_extensions = ['colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 3
exclude_patterns = ['_build', 'reference/generated']

html_theme = 'furo'
html_title = f'aiida-pyacemaker {__version__}'
