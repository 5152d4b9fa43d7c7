"""How fast this machine is and how much of it others take."""
