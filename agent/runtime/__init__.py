"""What does: carries out effects, and tells what became of them as events."""
