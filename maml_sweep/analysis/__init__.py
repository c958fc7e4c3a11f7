"""From a study to answers: frames, statistics, figures, one report.

Reads the study's storage and its files; imports neither TensorFlow nor anything that trains.
"""
