"""`python -m ckpt_archive` is `ckpt-archive`."""

from ckpt_archive.cli.main import main

main()
