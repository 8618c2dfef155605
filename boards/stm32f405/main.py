"""The node on this board: the C side calls ``run()`` after every reset.

Ctrl-C leads into the REPL; there ``import main; main.serve()`` goes on serving without sampling.
"""

from boards.stm32f405.board import Stm32Board
from firmware.node.run import NodeRun
from firmware.roles import make_role

_node = NodeRun(Stm32Board, make_role)
boot = _node.boot
run = _node.run
serve = _node.serve
