"""``python -m kubeling``."""

from kubeling.cli.main import main

main()
