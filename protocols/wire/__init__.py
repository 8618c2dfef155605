"""The half of the protocols that runs on MicroPython and on CPython.

Written in the MicroPython dialect: private ``_NAME = const(n)``, fixed buffers, single-inheritance
errors with integer codes, annotations made of builtins only, no text built in hot paths.
"""
