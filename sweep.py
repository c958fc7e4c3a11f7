"""The application of a checkout; `maml-sweep sweep` is the same from anywhere.

`python sweep.py --help` shows the settings and examples. (Hydra's completion in bash looks into
this file for the words @hydra.main, which stand in maml_sweep/application.py.)
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from maml_sweep import ahead

if __name__ == "__main__":
    ahead.load(sys.argv[1:])
    try:
        from maml_sweep.application import main  # Hydra comes with it, which takes time

        main(sys.argv[1:], shlex.join(["python", sys.argv[0]]), Path(__file__).parent)
    except KeyboardInterrupt:  # before a sweep listens to signals itself
        raise SystemExit(130) from None
