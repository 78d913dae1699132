"""What timers cost: threads, memory, CPU, lateness; beside the published ones and others."""
