"""What another program may import to build images and provision boards; the rest may change.

The package itself is empty, because a part of it is frozen into the boards' images.
"""

from .build import Image, build
from .errors import BoardError
from .provision import Provisioned, provision
from .spec import Spec, load, names

__all__ = [
    "BoardError",
    "Image",
    "Provisioned",
    "Spec",
    "build",
    "load",
    "names",
    "provision",
]
