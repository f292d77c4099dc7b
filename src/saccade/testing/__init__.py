"""What the tests of Saccade ask of every augmentation, network and source, for the authors of plug-ins.

    from saccade.testing import check_augmentation

    def test_my_augmentation():
        check_augmentation("quarter_turn", reference=turned)

A check returns nothing where every promise is kept, and raises ContractError with what to write and where.
"""

from .architectures import check_architecture
from .augmentation_references import Spread
from .augmentations import check_augmentation
from .sources import check_source

__all__ = ["Spread", "check_architecture", "check_augmentation", "check_source"]
