"""Loaded by the process that others are forked from, in a test: it is long in coming."""

import os
import time
from pathlib import Path

Path(os.environ["LAUNCHED_AHEAD"], "begun").write_text(str(os.getpid()))
Path(os.environ["LAUNCHED_AHEAD"], "begun").rename(Path(os.environ["LAUNCHED_AHEAD"], "ready"))
time.sleep(60)
