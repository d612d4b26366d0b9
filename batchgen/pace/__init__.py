"""How fast to send, as pure arithmetic: `pacer.py` decides, the other modules are what it knows and remembers."""
