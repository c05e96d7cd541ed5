"""What the rest may take for granted: errors, references, settings."""
