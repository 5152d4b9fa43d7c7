"""Ranking: a request's rows, whose order matters."""
