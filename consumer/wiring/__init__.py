"""The composition root: the only place that names concrete adapters, a module for each kind of thing that is opened.

Commands get whatever touches a server or a file from here and import no adapter themselves. Apart by what they load:
a command that only reads the database does not pay for Kafka's client, `backtest run` for neither. An engine child is
a process of its own and composes itself, in `engine_program`.
"""
