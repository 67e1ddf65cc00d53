"""Registered models served and scored: the endpoint, and what it shares with batch prediction."""
