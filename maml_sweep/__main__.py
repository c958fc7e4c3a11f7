"""`python -m maml_sweep`: the commands of `maml-sweep`."""

from maml_sweep.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
