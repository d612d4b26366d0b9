"""How many tokens a text has: exact where a vocabulary is at hand, else by a stated rule."""
