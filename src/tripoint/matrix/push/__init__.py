"""Telling clients that are not connected, by way of their push gateways."""
