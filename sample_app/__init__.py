"""A FastAPI application that shows the patterns of asynchronous Python, one module a topic.

It runs with nothing but its dependencies: ``uvicorn sample_app.main:app``. See `sample_app.settings` for what the
environment can change, and `sample_app.main` for the list of topics.
"""
