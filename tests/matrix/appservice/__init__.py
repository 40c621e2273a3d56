"""Application services: tests of matrix/appservice/ and of what it changes elsewhere."""
