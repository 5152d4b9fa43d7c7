"""The golden path: one runtime, the same in every generated project."""
