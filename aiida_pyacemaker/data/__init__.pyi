from .configurations import ConfigurationsData as ConfigurationsData
from .potential import AcePotentialData as AcePotentialData
