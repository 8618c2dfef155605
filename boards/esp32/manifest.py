"""What a build of MicroPython for this board freezes: FROZEN_MANIFEST=<this file>."""

include("$(PORT_DIR)/boards/manifest.py")
package("boards", files=("__init__.py",), base_path="../..")
package("boards/generic", base_path="../..")
package("firmware", base_path="../..")
package("protocols", files=("__init__.py",), base_path="../..")
package("protocols/wire", base_path="../..")
