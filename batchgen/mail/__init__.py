"""Mails → a table of rows: `convert.py` is the whole way, the others read files, decode, and take text from HTML."""
