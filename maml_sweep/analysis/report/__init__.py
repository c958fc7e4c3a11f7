"""The report: one HTML file a study.

`page` puts it together out of `facts` (words), `tables` and the figures; `embed` makes what is
carried in it safe. `template.html`, `style.css` and `script.js` are read from beside them.
"""

from maml_sweep.analysis.report.page import html

__all__ = ["html"]
