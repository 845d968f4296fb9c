"""The engine of the service, its queue, and the places that it keeps for those who come again."""
