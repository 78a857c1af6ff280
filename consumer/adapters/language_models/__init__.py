"""Calls to language models, by pydantic-ai. Loaded only where a model is configured."""
