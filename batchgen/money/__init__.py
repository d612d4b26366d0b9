"""Prices, what was billed, the budget and what is reserved of it."""
