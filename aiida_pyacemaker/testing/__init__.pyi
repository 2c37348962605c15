from .explorers import check_explorer as check_explorer
from .families import check_family as check_family
from .oracles import check_oracle as check_oracle
from .properties import check_property as check_property
