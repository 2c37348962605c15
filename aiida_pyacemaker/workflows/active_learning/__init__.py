"""The main loop: from a list of elements to a potential that its own simulations no longer surprise."""

from .workchain import ActiveLearningWorkChain

__all__ = ['ActiveLearningWorkChain']
