"""What a benchmark found: as JSON, a table, Markdown, CSV and plots."""
