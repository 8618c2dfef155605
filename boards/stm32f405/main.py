"""The node on this board: the C side calls ``run()`` after every reset.

Ctrl-C leads into the REPL; there ``import main; main.serve()`` goes on serving without sampling.
"""

from boards.stm32f405.board import Stm32Board
from firmware.node.run import NodeRun

_node = NodeRun(Stm32Board)
boot = _node.boot
run = _node.run
serve = _node.serve
