"""What was answered: record, framing, segments, pseudonyms, retention, search."""
