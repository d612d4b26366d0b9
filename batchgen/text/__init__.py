"""Text for people: figures, tables, sections of reports, suggestions, and foreign text made safe to show."""
