"""``python -m resolvent``."""

from resolvent.cli import main

main()
