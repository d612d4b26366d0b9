"""A job file to a ready job: settings, endpoint, parts, checks."""
