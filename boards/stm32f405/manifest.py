"""What is frozen into the image: asyncio, the wire protocols, the node, this board's own files.

Files are named in sorted order, not in the order of whatever file system they lie in, so that
every build gives the same bytes. MicroPython's makemanifest runs this file in its own folder.
"""

import os

ROOT = "../.."
MASTERS = ("image_manifest.py", "status.py")  # half of an update
GATEWAYS = ("clock.py", "file_sink.py", "gateway.py")  # half of the link
TOOLS = ("make_header.py", "manifest.py")  # of the build, not of the node


def freeze_folder(folder, skip=()):
    """Freeze the Python files of one folder as modules of the package of that name."""
    for name in sorted(os.listdir(os.path.join(ROOT, folder))):
        if name.endswith(".py") and name not in skip:
            package(folder, files=(name,), base_path=ROOT)  # makemanifest's


include("$(MPY_DIR)/extmod/asyncio")
package("protocols", files=("__init__.py",), base_path=ROOT)
package("boards", files=("__init__.py",), base_path=ROOT)
for folder in (
    "protocols/wire",
    "protocols/wire/modbus",
    "firmware",
    "firmware/node",
    "firmware/roles",
    "firmware/sensors",
):
    freeze_folder(folder)
freeze_folder("protocols/wire/link", skip=GATEWAYS)
freeze_folder("protocols/wire/update", skip=MASTERS)
freeze_folder("boards/stm32f405", skip=(*TOOLS, "main.py"))
if os.path.exists("main.py"):
    module("main.py")  # by its own name: the C code imports main, and so does the REPL
