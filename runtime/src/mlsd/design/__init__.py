"""Steps 1 and 2: design.yaml, typed and validated section by section."""
