"""AiiDA plugin that builds ACE interatomic potentials by active learning."""

__version__ = '0.1.0'
