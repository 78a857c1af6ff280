"""The wire contract: what goes through Kafka, and nothing else.

A record's way in: `envelope.open_envelope` (bytes to one JSON object and its CloudEvents attributes, or a reason for
the dead-letter topic), then `requested.parse_requested` or `cancel_requested.parse_cancel_requested` (the object to a
valid request, or every field at fault), `identity` (which request it is, and whether its content is the same as
before). The way out: one module per event, `outgoing.render` and `outgoing.parse_event`, `dead_letter` for records that
cannot be used.

Pure functions and frozen values: no first-party import, no I/O, no clock, no environment.
"""
