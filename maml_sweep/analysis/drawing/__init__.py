"""Figures described once, drawn by two renderers.

`marks` describes a figure without saying how it looks, `palette` holds the colours, `plotly` gives
the JSON that plotly.js draws in the report, `matplotlib` a vector figure for a paper. What draws a
figure computes a frame first, so its numbers are tested without either renderer.
"""
