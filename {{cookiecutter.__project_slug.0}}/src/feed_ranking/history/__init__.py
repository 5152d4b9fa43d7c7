"""What users and posts did before a moment: the stored features, computed without a look at the future."""
