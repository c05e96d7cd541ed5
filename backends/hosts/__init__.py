"""What a machine tells about itself."""
