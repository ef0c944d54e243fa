"""`pytest --asyncapi-init`: looks at a project, and writes its configuration and a first test."""
