"""What this machine has, whether its programs are right and quick, and what to do where not."""
