from .atomistics.core.configurations import load_configurations as load_configurations
from .atomistics.core.configurations import save_configurations as save_configurations
from .atomistics.core.errors import InputError as InputError
from .atomistics.fitting.train import train as train
from .atomistics.generators.family import Family as Family
from .atomistics.generators.generate import generate as generate
from .atomistics.generators.plan import Structures as Structures
from .atomistics.loop.progress import Progress as Progress
from .atomistics.potential.potential import AcePotential as AcePotential
from .atomistics.validation.gate import judge as judge
from .atomistics.validation.property import Property as Property
from .atomistics.validation.suite import Suite as Suite
from .atomistics.validation.suite import run_suite as run_suite
from .runfile import RunFile as RunFile
from .runfile import RunFileError as RunFileError
from .runfile import load_runfile as load_runfile
from .runfile import resolve_runfile as resolve_runfile
from .workflows.explorers.base import Explorer as Explorer
from .workflows.oracles.base import Oracle as Oracle

__version__: str
