"""Writing files: they appear complete or not at all, with the permissions that the run asks for."""
