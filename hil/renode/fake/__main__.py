"""Run the stand-in as a program."""

import sys

from hil.renode.fake.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
