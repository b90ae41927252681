"""Helpers of the app's tests: a client that checks each response, and the app in this process on one or two servers."""
