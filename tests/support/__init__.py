"""What tests of several folders use: records and events to send, both sides of the front door, waiting for a condition.

A helper lies in the nearest folder that all its users lie in; that of everybody is this one.
"""
