"""What it costs to open a folder of images: the first time, and every time after.

    python benchmarks/image_cache.py
    python benchmarks/image_cache.py --classes 100 --size 84 --folder /fast/disk

JPEG files of blurred noise are made in a temporary folder (38,400 of 84x84 unless said otherwise,
as many as miniImageNet has for training) and removed at the end. A process of its own opens them
first and makes the cache; another opens them again and puts the training split on the device.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from maml_sweep.tasks import ImageFolder


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the files, times both openings and prints a table; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--classes", type=int, default=64)
    parser.add_argument("--images", type=int, default=600, help="of a class")
    parser.add_argument("--size", type=int, default=84, help="pixels")
    parser.add_argument("--folder", help="where the temporary folder is made")
    parser.add_argument("--open", metavar="FOLDER", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.open:
        print(json.dumps(opening(chosen.open, chosen.size)))
        return 0
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        begin = time.perf_counter()
        bytes_ = make(Path(folder), chosen.classes, chosen.images, chosen.size)
        made = time.perf_counter() - begin
        total = chosen.classes * chosen.images
        print(f"{total:,} JPEG files, {bytes_ / 1e6:.0f} MB, made in {made:.0f} s\n")
        print("| opening | constructor, s | CPU, s | images/s | again, s | on the device, s |")
        print("|---|---|---|---|---|---|")
        for name in ("first", "second"):
            first, busy, again, device = _in_a_process(folder, chosen.size)
            rate = f"{total / first:,.0f}" if name == "first" else "-"
            print(f"| {name} | {first:.2f} | {busy:.2f} | {rate} | {again:.3f} | {device:.2f} |")
        cached = sum(file.stat().st_size for file in Path(folder).glob(".maml_sweep/*/*"))
        print(f"\ncache: {cached / 1e6:.0f} MB")
    return 0


def make(folder: Path, classes: int, images: int, size: int) -> int:
    """Writes the files; returns how many bytes they have."""
    from PIL import Image

    def one_class(number: int) -> int:
        rng, written = np.random.default_rng(number), 0
        path = folder / f"n{number:08d}"
        path.mkdir()
        for index in range(images):
            coarse = rng.integers(0, 256, (size // 4, size // 4, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
            file = path / f"n{number:08d}_{index}.jpg"
            image.save(file, quality=90)
            written += file.stat().st_size
        return written

    with ThreadPoolExecutor() as pool:
        return sum(pool.map(one_class, range(classes)))


def opening(folder: str, size: int) -> tuple[float, float, float, float]:
    """Seconds of a constructor, by clock and of all cores, of another, of the table to the device.

    The second constructor is that of a process's next trial.
    """
    begin, busy = time.perf_counter(), time.process_time()
    ImageFolder(5, 1, 15, folder, size)
    first, busy = time.perf_counter() - begin, time.process_time() - busy
    begin = time.perf_counter()
    task = ImageFolder(5, 1, 15, folder, size)
    again = time.perf_counter() - begin
    from maml_sweep.backend import tf

    keys = tf.zeros([1, 2], tf.uint32)  # and TensorFlow is there
    begin = time.perf_counter()
    task.episodes("train", keys, tf.float32)
    return first, busy, again, time.perf_counter() - begin


def _in_a_process(folder: str, size: int) -> tuple[float, float, float, float]:
    command = [sys.executable, __file__, "--open", folder, "--size", str(size)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    first, busy, again, device = json.loads(done.stdout)
    return first, busy, again, device


if __name__ == "__main__":
    sys.exit(main())
