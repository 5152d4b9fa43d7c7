"""The bench's parts: the world it serves from, the servers it compares, the client that asks all of them alike."""
