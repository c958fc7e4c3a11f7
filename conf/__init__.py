"""The application's configuration; Hydra reads it as a package, so that a wheel can carry it."""
