"""What is said on the line: message shapes, their JSON, and their sealing; pure."""
