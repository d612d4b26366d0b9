"""What is known of each vendor."""
