"""Answers made ahead: every user's best items in one pass, served as they are (batch) or re-scored (hybrid)."""
