"""One page that shows each design number beside the measured one."""
