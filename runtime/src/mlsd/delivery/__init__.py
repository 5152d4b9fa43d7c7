"""Step 5: releases, shadow, canary, promotion, rollback."""
