"""Letters of thirteen scripts, carried by the package: an Omniglot-like set with no download.

Drawn from the DejaVu fonts, whose licence (`LICENSE_DEJAVU.txt`) lies beside the bitmaps.
"""

from maml_sweep.tasks.glyph_data.drawers import DRAWERS, load
from maml_sweep.tasks.glyph_data.store import SIDE, Letter, letters

__all__ = ["DRAWERS", "SIDE", "Letter", "letters", "load"]
