"""From a job file to a job that can run: settings, endpoint, templates, prices, checks."""
