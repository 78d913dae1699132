"""What the libraries cost, measured beside what else one could use. `hatch run bench NAME`."""
