"""Figures, tables, columns and terminal text for people."""
