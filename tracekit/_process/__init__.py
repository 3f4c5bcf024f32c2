"""What one process owns: its state after a fork, its exit and its signals."""
