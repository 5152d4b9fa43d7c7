"""Step 5: releases, their stages, the traffic they get, and the way back."""
