"""What is told of the service: figures, the log, systemd."""
