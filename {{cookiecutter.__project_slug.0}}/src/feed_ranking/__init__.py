"""Feed ranking: which of the candidate posts will this user engage with?"""
