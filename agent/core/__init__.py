"""What decides: events in, effects out; pure."""
