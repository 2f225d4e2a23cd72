"""`python -m skerry` is the command `skerry`."""

from __future__ import annotations

from skerry.cli.main import main

if __name__ == "__main__":
    main(prog_name="skerry")
